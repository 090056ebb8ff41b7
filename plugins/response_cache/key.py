"""What makes two requests the same: everything that changes the answer, and who may share it."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec

from gateway.plugin import Credential, Exchange, Model

_encode = msgspec.json.Encoder(order="sorted").encode
_pack = msgspec.msgpack.Encoder().encode
_is_zero = re.compile(rb"-?0(\.0*)?([eE][+-]?\d+)?").fullmatch
_ALWAYS = ("/embeddings", "/rerank")  # paths of models that have no temperature


class Keys:
    """Makes keys. `headers` are lower-case names of request headers, `ignore` fields of the body that do not count.

    `models` are those of the configuration: where one leads elsewhere after a reload, nothing kept is given for it.
    """

    def __init__(self, tenant: str, headers: Sequence[str], ignore: Sequence[str], models: Mapping[str, Model]) -> None:
        self._tenant = tenant
        self._headers = [name.lower().encode() for name in headers]
        self._ignore = frozenset((*ignore, "model"))
        self._places = {label: f"{model.backend} {model.name}" for label, model in models.items()}

    def make(self, exchange: Exchange) -> bytes:
        """The key of a request to a model: 32 bytes that cannot be guessed without the request."""
        fields, get = exchange.fields, exchange.head.get
        assert fields is not None
        model = exchange.model or exchange.model_asked
        where = (
            self._name_tenant(exchange.credential, exchange.peer), exchange.path, exchange.query, model,
            self._places.get(exchange.model_label), [get(name) for name in self._headers],
        )  # fmt: skip
        ignore = self._ignore
        body = _encode({name: value for name, value in fields.items() if name not in ignore})
        return sha256(_pack(where) + msgspec.json.format(body, indent=-1)).digest()

    def _name_tenant(self, credential: Credential | None, peer: str) -> tuple[str, str]:
        """Who shares what is kept. Callers without a key are told apart by their addresses."""
        if self._tenant == "all":
            return "all", ""
        if credential is None:
            return "peer", peer
        if self._tenant == "project" and credential.project:
            return "project", credential.project
        return "consumer", credential.consumer


def is_deterministic(exchange: Exchange) -> bool:
    """Whether the engine is asked to answer the same every time."""
    fields = exchange.fields
    assert fields is not None
    temperature = fields.get("temperature")
    if temperature is None:
        return exchange.path.endswith(_ALWAYS)
    return _is_zero(bytes(temperature)) is not None

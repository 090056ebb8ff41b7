"""Reading a request's body: bounded, decoded one level deep where it leads to a model, and the model looked up.

Where the dialect takes forms, a form is read until its model is known, and goes on as it comes.
"""

from contextlib import aclosing
from hashlib import sha256
from typing import TypeVar

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.relay.dialect import form
from gateway.relay.registry import Registry, is_model_id
from gateway.relay.upload import Upload
from gateway.wire import encode_object, parse_object

T = TypeVar("T")

_text = msgspec.json.Decoder(str)
_flag = msgspec.json.Decoder(bool | None)


class BodyReader:
    """The chain's step that reads the body. `limit` is bytes; `registry` is None where the body is not for a model.

    `holds_forms`: a plugin wants the whole body even if it is a form.
    """

    __slots__ = ("_depth", "_holds_forms", "_limit", "_registry")

    def __init__(self, limit: int, depth: int, registry: Registry | None, holds_forms: bool = False) -> None:
        self._holds_forms = holds_forms
        self._limit = limit
        self._depth = depth
        self._registry = registry

    async def read(self, exchange: Exchange) -> None:
        """Fill `body`, and for a model `fields` (of JSON), `model`, `stream` and its share of the `cost`.

        A form that has not arrived as a whole when its model is known becomes an `upload` and has no `body`. Does
        nothing if it was read already. Raises GatewayError 1208 (too large), 121x and 1222 (not what it should be),
        1804 (too slow).
        """
        if exchange.body is not None or exchange.upload is not None:
            return
        coding = exchange.head.get(b"content-encoding")
        if coding is not None and coding.lower() != b"identity":
            raise GatewayError(1215)
        kind = exchange.head.get(b"content-type")
        if self._registry is None:
            exchange.body = await exchange.request.read(body_limit(exchange, self._limit))
            return
        if kind is not None and form.is_form(kind) and exchange.dialect is not None and exchange.dialect.takes_forms:
            asked = await self._read_form(exchange, kind)
        else:
            asked = await self._read_object(exchange)
        self._look_up(exchange, asked, self._registry)

    def _look_up(self, exchange: Exchange, asked: str, registry: Registry) -> None:
        entry = registry.find(asked)
        if entry is None and not is_model_id(asked):
            raise GatewayError(1214, "The model's name has characters that no model has.", param="model")
        exchange.model_asked = asked
        exchange.entry = entry
        if entry is not None:
            exchange.model = entry.name
            exchange.model_label = entry.label
            exchange.cost = exchange.cost * entry.cost // 1000

    async def _read_object(self, exchange: Exchange) -> str:
        exchange.body = await exchange.request.read(body_limit(exchange, self._limit))
        exchange.fields = fields = parse_object(exchange.body, self._depth)
        asked = _decode(fields, "model", _text, "a string")
        if asked is None:
            raise GatewayError(1213, "The body names no model.", param="model")
        exchange.stream = bool(_decode(fields, "stream", _flag, "true or false"))
        return asked

    async def _read_form(self, exchange: Exchange, content_type: bytes) -> str:
        request, limit = exchange.request, body_limit(exchange, self._limit)
        is_wanted_whole = self._holds_forms or exchange.body_digest is not None
        reader = form.FormReader(content_type)
        held: list[bytes] = []
        async with aclosing(request.chunks(limit)) as chunks:
            async for piece in chunks:
                held.append(piece)
                reader.feed(piece)
                if reader.model is not None and not is_wanted_whole and not request.complete:
                    exchange.upload = Upload(request, reader, b"".join(held), limit)
                    break
            else:
                reader.finish()
                exchange.body = b"".join(held)
        assert reader.model is not None
        exchange.stream = reader.stream
        return reader.model.text.decode("utf-8", "replace")

    async def check_digest(self, exchange: Exchange) -> None:
        """The chain's step for callers who signed their body: read now, it is the one that they signed.

        Raises GatewayError 1010, and what `read` does.
        """
        if exchange.body_digest is None:
            return
        if exchange.fields is None:
            await self.read(exchange)
        if sha256(forwarded_body(exchange)).digest() != exchange.body_digest:
            raise GatewayError(1010, "The body is not the one that was signed.", headers={"WWW-Authenticate": "Bearer"})


def body_limit(exchange: Exchange, limit: int) -> int:
    """How many bytes the body may have: the route's `limit`, or less where a plugin says so."""
    return min(limit, exchange.body_limit) if exchange.body_limit else limit


def _decode(fields: dict[str, msgspec.Raw], name: str, decoder: msgspec.json.Decoder[T], wanted: str) -> T | None:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise GatewayError(1214, f"{name} must be {wanted}.", param=name) from None


def rename_model(exchange: Exchange, name: str) -> None:
    """Have the body ask for the model `name`, whatever it asked for."""
    if exchange.fields is not None:
        exchange.set_field("model", name)
    elif exchange.upload is not None:
        exchange.upload.rename(name)
    else:
        assert exchange.body is not None
        exchange.body = form.rename_model(exchange.head.get(b"content-type") or b"", exchange.body, name)


def forwarded_body(exchange: Exchange) -> bytes:
    """The body as it goes on: the same bytes, unless a field was changed."""
    if exchange.body is None and exchange.fields is not None:
        exchange.body = encode_object(exchange.fields)
    return exchange.body or b""

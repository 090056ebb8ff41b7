"""Who is calling, by a signature over the whole request: nothing that could be stolen travels.

    plugins:
      - key_auth: {}
      - hmac_auth:
          window: 1m
          credentials:
            - {id: partner-a, secret: "${file:/run/secrets/partner-a-signing-secret}", consumer: acme, tier: pro}

The header `Authorization` of a signed request:

    TK1-HMAC-SHA256 credential=partner-a, timestamp=1795245765, nonce=Zm9vYmFyYmF6cXV4, content=<64>, signature=<64>

`content` is the SHA-256 of the body. The signature is the HMAC-SHA256, keyed with the secret of at least 32 bytes, of
seven lines joined by line feeds: `TK1-HMAC-SHA256`, the method, the path, the query without its `?`, `timestamp` (unix
seconds), `nonce` and `content`; path and query as they are sent, the path without dot segments and needless escapes,
both digests in lower-case hex. `plugins/hmac_auth/client.py` is a client. (RFC 9421 leaves to each message which parts
of a request are covered. Here it is always all of them, and a client takes twenty lines.)

A timestamp may be off by `window` (1012, at most 15 minutes); a nonce, 16 to 64 letters, digits, `-` and `_`, is taken
once by all workers, with Redis by all replicas (1011). Without Redis 200,000 nonces are remembered, and none beyond a
restart of the whole gateway: choose the window so that fewer requests fall into it. Where the memory cannot be asked,
requests are refused (1601). A wrong signature and an unknown credential are the same 1010; so is a body that is not
`content`: it is read as soon as the caller is known, and before anything is charged or sent on.

A credential stands for `consumer` with `tier` (default: the role's), `project` and `role`, `models` and `routes` as a
key's do. To change a secret, list the new one under another `id` beside the old one.
"""

import re
from hmac import compare_digest, digest
from typing import Annotated

import msgspec

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Credential, Exchange, Seconds, Secret, Services

_SCHEME = "TK1-HMAC-SHA256"
_LONGEST = 1024  # bytes of the header
_CHALLENGE = {"WWW-Authenticate": _SCHEME}
_PARAMETERS = {
    "credential": r"[A-Za-z0-9._-]{1,64}", "timestamp": r"[0-9]{1,12}", "nonce": r"[A-Za-z0-9_-]{16,64}",
    "content": r"[0-9a-f]{64}", "signature": r"[0-9a-f]{64}",
}  # fmt: skip
_parameters = {name: re.compile(pattern).fullmatch for name, pattern in _PARAMETERS.items()}


class Signer(BaseSettings, frozen=True):
    """One credential."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
    secret: Secret
    consumer: Annotated[str, msgspec.Meta(min_length=1)]
    tier: str = ""
    project: str = ""
    role: str = ""
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.secret.encode()) < 32:
            raise ValueError(f"the secret of {self.id!r} is shorter than 32 bytes")


class Settings(BaseSettings, frozen=True):
    credentials: tuple[Signer, ...]
    window: Seconds = Seconds(60)

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 900:
            raise ValueError("`window` is 1 s to 15 m")
        if not self.credentials:
            raise ValueError("`credentials` is empty: every signature would be refused")
        if len({signer.id for signer in self.credentials}) < len(self.credentials):
            raise ValueError("two `credentials` have the same `id`")


class Plugin(BasePlugin[Settings]):
    authenticates = True
    binds_body = True

    async def start(self, services: Services) -> None:
        """Raises ValueError for a tier that does not exist."""
        self._shared = services.shared
        self._clock = services.clock
        self._known = {
            signer.id: (signer.secret.encode(), _make(signer, services)) for signer in self.settings.credentials
        }

    async def access(self, exchange: Exchange) -> None:
        given = _find(exchange)
        if given is None:
            return
        if exchange.credential is not None:
            raise GatewayError(1004)
        moment, now, window = int(given["timestamp"]), self._clock.wall(), self.settings.window
        if abs(now - moment) > window:
            details = {"window": window, "now": int(now)}
            raise GatewayError(1012, details=details, headers=_CHALLENGE)
        secret, credential = self._known.get(given["credential"], (b"nobody's, so that it takes as long", None))
        is_right = compare_digest(digest(secret, _signed(exchange, given), "sha256"), bytes.fromhex(given["signature"]))
        if credential is None or not is_right:
            raise GatewayError(1010, headers=_CHALLENGE)
        await self._take(given, moment + window - now)
        exchange.body_digest = bytes.fromhex(given["content"])
        exchange.credential = credential

    async def _take(self, given: dict[str, str], left: float) -> None:
        """The nonce, for as long as its timestamp is good. Raises GatewayError 1011, 1601."""
        key = f"hmac:{given['credential']}:{given['nonce']}".encode()
        try:
            is_new = await self._shared.add(key, left + 1)
        except ConnectionError:
            raise GatewayError(1601, "It cannot be told now whether this request was sent before.") from None
        if not is_new:
            raise GatewayError(1011, headers=_CHALLENGE)


def _make(signer: Signer, services: Services) -> Credential:
    role = services.roles.get(signer.role)
    tier = signer.tier or (role.tier if role is not None and isinstance(role.tier, str) else "")
    if tier not in services.tiers:
        raise ValueError(f"hmac_auth: {signer.id} has no tier that exists")
    return Credential(
        signer.id, signer.consumer, tier, signer.project, models=signer.models, routes=signer.routes, role=signer.role,
        kind="hmac",
    )  # fmt: skip


def _signed(exchange: Exchange, given: dict[str, str]) -> bytes:
    parts = (_SCHEME, exchange.method, exchange.path, exchange.query, given["timestamp"], given["nonce"])
    return "\n".join((*parts, given["content"])).encode("latin-1")


def _find(exchange: Exchange) -> dict[str, str] | None:
    """The parameters of the one signature; None if there is none. Raises GatewayError 1004, 1005."""
    head = exchange.head
    if head.get(b"authorization") is None:
        return None
    found = None
    for value in head.get_all(b"authorization"):
        scheme, _, rest = value.partition(b" ")
        if scheme.upper() == b"TK1-HMAC-SHA256":
            if found is not None:
                raise GatewayError(1004)
            found = rest
    return None if found is None else _read(found)


def _read(value: bytes) -> dict[str, str]:
    """Every parameter once, and no other. Raises GatewayError 1005."""
    given = {}
    if len(value) <= _LONGEST:
        for part in value.decode("latin-1").split(","):
            name, _, text = part.strip(" \t").partition("=")
            if name in given or name not in _parameters or not _parameters[name](text):
                break
            given[name] = text
        else:
            if len(given) == len(_parameters):
                return given
    wanted = ", ".join(f"{name}=…" for name in _parameters)
    raise GatewayError(1005, f"Send: Authorization: {_SCHEME} {wanted}, each once.", headers=_CHALLENGE)

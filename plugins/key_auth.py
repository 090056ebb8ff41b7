"""Who is calling, by API key.

    plugins:
      - key_auth: {}

The key comes in `Authorization: Bearer`, `x-api-key` or `api-key`, in exactly one of them: two different ones are an
error (1004). Without a key the plugin abstains; a bad one is refused (1002, 1003, 1005). Keys are known by the SHA-256
of a high-entropy secret: looking the digest up in a dictionary tells nothing about a key that is not known, so no
comparison can leak how much of a guess was right.
"""

from hashlib import sha256

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Credential, Exchange, Services

_LONGEST = 8192  # bytes of a header that may hold a key
_PLAIN = (b"x-api-key", b"api-key")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Settings(BaseSettings, frozen=True):
    schemes: tuple[str, ...] = ("bearer",)  # of Authorization; another scheme is left to other plugins


class Plugin(BasePlugin[Settings]):
    authenticates = True

    async def start(self, services: Services) -> None:
        self._directory = services.directory
        self._clock = services.clock
        self._schemes = frozenset(scheme.lower().encode() for scheme in self.settings.schemes)

    async def access(self, exchange: Exchange) -> None:
        key = self._find_key(exchange)
        if key is None:
            return
        found = self._directory.look_up(sha256(key).digest())
        credential = found if found is None or isinstance(found, Credential) else await found
        if credential is None:
            raise GatewayError(1002, headers=_CHALLENGE)
        if credential.expires and credential.expires <= self._clock.wall():
            raise GatewayError(1003, f"The key {credential.id} has expired.", headers=_CHALLENGE)
        if exchange.credential is not None:  # another plugin's kind, beside this one
            raise GatewayError(1004)
        exchange.credential = credential

    def _find_key(self, exchange: Exchange) -> bytes | None:
        """The one key of the request, None if it has none of this plugin's kind."""
        head = exchange.head
        keys: list[bytes] = []
        if head.get(b"authorization") is not None:
            keys = [key for value in head.get_all(b"authorization") if (key := self._read(value)) is not None]
        for name in _PLAIN:
            if head.get(name) is not None:
                keys += head.get_all(name)
        if not keys:
            return None
        key = keys[0]
        if len(keys) > 1 and any(other != key for other in keys):
            raise GatewayError(1004)
        if not key or len(key) > _LONGEST:
            raise GatewayError(1005, headers=_CHALLENGE)
        return key

    def _read(self, authorization: bytes) -> bytes | None:
        """The key of an Authorization header; None for a scheme or token that other plugins read."""
        scheme, _, token = authorization.partition(b" ")
        token = token.strip(b" ")
        return token if scheme.lower() in self._schemes and not _is_jwt(token) else None


def _is_jwt(token: bytes) -> bool:
    """Three base64 parts, of which the first is a JSON object: another plugin's kind (RFC 7519, 3)."""
    return token.startswith(b"eyJ") and token.count(b".") == 2

"""Who is calling, by a JSON Web Token that an issuer signed (RFC 7519, 8725).

    plugins:
      - key_auth: {}
      - jwt:
          jwks: https://id.example.com/.well-known/jwks.json
          issuer: https://id.example.com/
          audience: tollkeeper
          algorithms: [RS256]
          default_tier: free
          tiers: [free, pro]

The token comes as `Authorization: Bearer`; whatever there does not look like one (`eyJ`, two dots) is another plugin's,
and a token beside a key is an error (1004). It must be signed by a key of the issuer, in one of `algorithms` (RS, PS,
ES 256 to 512, EdDSA with Ed25519, or HS 256 to 512, which never stand beside the others), be for this `audience` (null:
not asked) and of this `issuer`, and have an end, `exp`, at most `max_age` after `iat`. Clocks may differ by `leeway`.
Its `typ` is one of `typ` (default: JWT, at+jwt); a token without it is a `JWT`. Refusals are 1006 (not valid), 1007
(expired), 1008 (not yet valid), 1009 (unknown key), 1013 (other audience or issuer), and 1603 while no key set could be
fetched.

`jwks` is fetched by the gateway, https and from public addresses alone unless `allow_private: true`, every `refresh`
and when a token names a new key, but for that at most once in 30 s; if the issuer is down, the keys last seen stay.
`keys` are listed beside or instead of it, each with a `kid`: `{kid: a, pem: "-----BEGIN PUBLIC KEY…"}`, a `secret`
(as long as the hash, at least), or the `file` of either.

`claims` names the claims that say who it is: `{consumer: sub, role: role, tier: tier, project: project, models: models,
routes: routes, scopes: scope}`; `realm_access.role` is one inside another. A tier must be one of `tiers` (empty: any);
without it the role's tier holds, or `default_tier`, and if there is none the token is refused. Scopes that begin with
`scope_prefix` are permissions: they narrow what the role may. Others mean nothing here, and a token without any of ours
is as wide as its role. The issuer is believed: consumers of the same name as `sub` share a quota.

A token that was verified is known until it ends, or until the key set changes.
"""

from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple, TypeVar

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, Credential, Exchange, Services
from plugins.jwt.claims import Mapper, Terms, check_claims, refuse
from plugins.jwt.key import Key
from plugins.jwt.keyset import KeySet
from plugins.jwt.settings import Settings
from plugins.jwt.token import LARGEST, Malformed, Token, read_token

_KNOWN = 10_000  # verified tokens that are remembered
_REFUSED = 1_000  # refused ones ...
_REFUSED_FOR = 10.0  # ... and for how many seconds
_LASTING = frozenset((1006, 1007, 1013))  # what another look does not change


T = TypeVar("T")


class _Known(NamedTuple):
    credential: Credential
    until: float  # unix seconds


class _Refused(NamedTuple):
    number: int
    text: str
    until: float  # monotonic seconds


class Plugin(BasePlugin[Settings]):
    authenticates = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._algorithms = frozenset(settings.algorithms)
        self._types = frozenset(kind.lower().removeprefix("application/") for kind in settings.typ)
        self._terms = Terms(settings.issuer, settings.audience, settings.leeway, settings.max_age)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()
        self._remote: KeySet | None = None

    async def start(self, services: Services) -> None:
        """Raises ValueError or OSError for a key file, or a tier that does not exist."""
        settings = self.settings
        tiers = settings.tiers or tuple(services.tiers)
        for name in (*tiers, *filter(None, (settings.default_tier,))):
            if name not in services.tiers:
                raise ValueError(f"jwt: no tier {name!r}")
        self._clock = services.clock
        allowed = {name: services.tiers[name] for name in tiers}
        self._mapper = Mapper(settings.claims, allowed, settings.default_tier, services.roles, settings.scope_prefix)
        own = [key.read(self._algorithms) for key in settings.keys]
        self._own = {key.kid or f"\0own{at}": key for at, key in enumerate(own)}
        self._change()
        if settings.jwks:
            refresh = settings.refresh.plain()
            self._remote = KeySet(settings.jwks, self._algorithms, refresh, settings.allow_private, self._change)
            self._remote.start(services)

    async def access(self, exchange: Exchange) -> None:
        token = _find_token(exchange)
        if token is None:
            return
        if exchange.credential is not None:
            raise GatewayError(1004)
        remote = self._remote
        if remote is not None and remote.due <= self._clock.monotonic():
            await remote.keep_fresh()
        mark = sha256(token).digest()
        known = self._known.get(mark)
        if known is not None:
            if self._clock.wall() < known.until:
                self._known.move_to_end(mark)
                exchange.credential = known.credential
                return
            del self._known[mark]
        exchange.credential = await self._verify(token, mark)

    async def _verify(self, token: bytes, mark: bytes) -> Credential:
        refused = self._refused.get(mark)
        if refused is not None and self._clock.monotonic() < refused.until:
            raise refuse(refused.number, refused.text)
        try:
            parsed = self._read(token)
            key = await self._find_key(parsed)
            if not key.verifies(parsed.algorithm, parsed.signed, parsed.signature):
                raise refuse(1006, "The token's signature is not valid.")
            expires = check_claims(parsed.claims, self._terms, self._clock.wall())
            credential = self._mapper.map(parsed.claims, expires, mark.hex()[:12])
        except GatewayError as error:
            if error.number in _LASTING:
                until = self._clock.monotonic() + _REFUSED_FOR
                _keep(self._refused, mark, _Refused(error.number, error.message, until), _REFUSED)
            raise
        _keep(self._known, mark, _Known(credential, expires + self._terms.leeway), _KNOWN)
        return credential

    def _read(self, token: bytes) -> Token:
        try:
            parsed = read_token(token, self._types)
        except Malformed as why:
            raise refuse(1006, f"The token cannot be taken: {why}.") from None
        if parsed.algorithm not in self._algorithms:
            raise refuse(1006, "The token's algorithm is not one that is taken here.")
        return parsed

    async def _find_key(self, token: Token) -> Key:
        """Raises GatewayError 1009, 1603."""
        key, remote = self._pick(token), self._remote
        if key is None and remote is not None:
            await remote.look_again()
            key = self._pick(token)
        if key is None and token.kid is not None:
            key = _only(self._nameless, token.algorithm)
        if key is None and remote is not None and remote.keys is None:
            raise GatewayError(1603, headers={"Retry-After": str(remote.wait())})
        if key is None:
            raise refuse(1009, "The token is signed by a key that is not known here.")
        return key

    def _pick(self, token: Token) -> Key | None:
        """The key that a token names; for one that names none, the only one that fits."""
        return _only([*self._keys.values()], token.algorithm) if token.kid is None else self._keys.get(token.kid)

    def _change(self) -> None:
        """There are other keys: what was decided by the old ones is forgotten."""
        published = self._remote.keys if self._remote is not None else None
        self._keys = {**(published or {}), **self._own}
        self._nameless = [key for key in self._keys.values() if not key.kid]
        self._known.clear()
        self._refused.clear()


def _find_token(exchange: Exchange) -> bytes | None:
    """The one token of the request; None if it has none. Raises GatewayError 1004, 1006."""
    head = exchange.head
    if head.get(b"authorization") is None:
        return None
    found = None
    for value in head.get_all(b"authorization"):
        scheme, _, token = value.partition(b" ")
        token = token.strip(b" ")
        if token.startswith(b"eyJ") and token.count(b".") == 2 and scheme.lower() == b"bearer":
            if found is not None and found != token:
                raise GatewayError(1004)
            found = token
    if found is not None and len(found) > LARGEST:
        raise refuse(1006, f"The token is longer than {LARGEST} bytes.")
    return found


def _only(keys: list[Key], algorithm: str) -> Key | None:
    fitting = [key for key in keys if algorithm in key.algorithms]
    return fitting[0] if len(fitting) == 1 else None


def _keep(kept: "OrderedDict[bytes, T]", mark: bytes, value: T, most: int) -> None:
    kept[mark] = value
    if len(kept) > most:
        kept.popitem(last=False)

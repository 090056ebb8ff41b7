"""What a verified token says: whether it holds now and here, and who it makes its bearer (RFC 7519, 4.1)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.plugin import BaseSettings, Credential, Role, Tier

_MOST_PATTERNS = 100
_LAST_SECOND = 2.0**53
_is_name = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?").fullmatch  # ASCII, as OpenID Connect Core 2 wants `sub`
_not_describing = re.compile(r"[^ !#-\[\]-_a-~]")  # RFC 6750, 3; nor a backtick
_is_pattern = re.compile(r"[!-~]{1,256}").fullmatch

Claims = Mapping[str, Any]


class Names(BaseSettings, frozen=True):
    """Claims by what they are for. One inside another is written `realm_access.role`; an empty name is not read."""

    consumer: str = "sub"
    role: str = "role"
    tier: str = "tier"
    project: str = "project"
    models: str = "models"
    routes: str = "routes"
    scopes: str = "scope"

    def __post_init__(self) -> None:
        if not self.consumer:
            raise ValueError("`consumer` must name a claim")


class Terms(msgspec.Struct, frozen=True):
    """What a token must say to hold. None: not asked; durations are seconds."""

    issuer: str | None
    audience: str | None
    leeway: float
    max_age: float


def _describe(text: str) -> str:
    """`text` in the characters of a description; a claim's name, which an operator chose, may have others."""
    return _not_describing.sub("'", text)


def refuse(number: int, text: str) -> GatewayError:
    """A refusal as RFC 6750, 3 has it. `text` is ours alone: it quotes nothing of a token."""
    challenge = f'Bearer error="invalid_token", error_description="{_describe(text)}"'
    return GatewayError(number, text, headers={"WWW-Authenticate": challenge})


def check_claims(claims: Claims, terms: Terms, now: float) -> float:
    """The moment at which the token ends, in unix seconds. Raises GatewayError 1006, 1007, 1008, 1013."""
    expires, issued = _read_moment(claims, "exp"), _read_moment(claims, "iat")
    begins = _read_moment(claims, "nbf")
    if expires is None:
        raise refuse(1006, "The token has no `exp`.")
    if terms.issuer is not None and claims.get("iss") != terms.issuer:
        raise refuse(1013, "The token is not of the issuer that is trusted here.")
    if terms.audience is not None and not _is_for(claims.get("aud"), terms.audience):
        raise refuse(1013, "The token is not for this audience.")
    if now >= expires + terms.leeway:
        raise refuse(1007, "The token has expired.")
    if max(begins or 0.0, issued or 0.0) > now + terms.leeway:
        raise refuse(1008, "The token is not valid yet.")
    if expires - (now if issued is None else issued) > terms.max_age:
        raise refuse(1006, f"The token lives longer than the {terms.max_age:g} s that are taken here.")
    return expires


def _is_for(given: object, audience: str) -> bool:
    return given == audience or (isinstance(given, list) and audience in given)


def _read_moment(claims: Claims, name: str) -> float | None:
    """A NumericDate (RFC 7519, 2). Raises GatewayError 1006 for anything else."""
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(1006, f"The token's `{name}` is not a number.")
    if not 0 <= value <= _LAST_SECOND:  # NaN is not, either
        raise refuse(1006, f"The token's `{name}` is not a moment.")
    return float(value)


class Mapper:
    """Makes credentials of claims. `tiers` are those that a token may name; `prefix` begins scopes that are ours."""

    def __init__(
        self, names: Names, tiers: Mapping[str, Tier], default_tier: str, roles: Mapping[str, Role], prefix: str
    ) -> None:
        self._read = {name: _compile(getattr(names, name)) for name in Names.__struct_fields__}
        self._names = names
        self._tiers = tiers
        self._default_tier = default_tier
        self._roles = roles
        self._prefix = prefix

    def map(self, claims: Claims, expires: float, mark: str) -> Credential:
        """Whom the token stands for; `mark` is its id where it has none. Raises GatewayError 1006."""
        consumer = self._text(claims, "consumer")
        if not consumer:
            raise refuse(1006, f"The token has no `{self._names.consumer}`.")
        role = self._role(claims)
        jti = claims.get("jti")
        return Credential(
            id=jti if isinstance(jti, str) and len(jti) <= 64 and _is_name(jti) else mark,
            consumer=consumer,
            tier=self._tier(claims, role),
            project=self._text(claims, "project"),
            expires=expires,
            models=self._patterns(claims, "models"),
            routes=self._patterns(claims, "routes"),
            role=role,
            permissions=self._permissions(claims),
            kind="jwt",
        )

    def _tier(self, claims: Claims, role: str) -> str:
        named = self._text(claims, "tier")
        if named in self._tiers:
            return named
        found = self._roles.get(role)
        if not named and found is not None and isinstance(found.tier, str) and found.tier:
            return found.tier
        if not self._default_tier:
            raise refuse(1006, "The token names no tier that tokens may have here.")
        return self._default_tier

    def _role(self, claims: Claims) -> str:
        """The role; of a list the first that the configuration knows."""
        value = self._read["role"](claims)
        if isinstance(value, list):
            return next((name for name in value if isinstance(name, str) and name in self._roles), "")
        return self._text(claims, "role")

    def _permissions(self, claims: Claims) -> tuple[str, ...]:
        scopes = self._patterns(claims, "scopes", may_be_empty=True)
        return tuple([scope.removeprefix(self._prefix) for scope in scopes if scope.startswith(self._prefix)])

    def _text(self, claims: Claims, name: str) -> str:
        value = self._read[name](claims)
        if value is None or value == "":
            return ""
        if not isinstance(value, str) or not _is_name(value):
            raise self._bad(name, "a text of at most 256 ASCII characters")
        return value

    def _patterns(self, claims: Claims, name: str, may_be_empty: bool = False) -> tuple[str, ...]:
        """A list, or words in one text (RFC 8693, 4.2). An empty list would mean that all is allowed: it is refused."""
        value = self._read[name](claims)
        if value is None:
            return ()
        words = value.split() if isinstance(value, str) else value
        if not isinstance(words, list) or len(words) > _MOST_PATTERNS or not (words or may_be_empty):
            raise self._bad(name, "a list of texts")
        if not all(isinstance(word, str) and _is_pattern(word) for word in words):
            raise self._bad(name, "a list of texts")
        return tuple(words)

    def _bad(self, name: str, wanted: str) -> GatewayError:
        return refuse(1006, f"The token's `{getattr(self._names, name)}` is not {wanted}.")


def _compile(path: str) -> Callable[[Claims], Any]:
    """Reads one claim. A name with dots may be a claim's own, as in `https://example.com/role`."""
    parts = path.split(".")

    def read(claims: Claims) -> Any:
        if path in claims:
            return claims[path]
        value: Any = claims
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    return read if path else lambda claims: None

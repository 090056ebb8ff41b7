"""The settings of `jwt`; the plugin's docstring is their manual."""

from pathlib import Path

from gateway.plugin import BaseSettings, Seconds, Secret
from plugins.jwt.claims import Names
from plugins.jwt.key import ALGORITHMS, ASYMMETRIC, SECRET_LENGTHS, Key, read_pem, read_secret

_MOST_LEEWAY = 60.0  # seconds


class KeySettings(BaseSettings, frozen=True):
    """One of `file`, `pem`, `secret`."""

    kid: str = ""
    file: str = ""
    pem: str = ""
    secret: Secret = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.file, self.pem, self.secret))) != 1:
            raise ValueError("a key has one of `file`, `pem` and `secret`")

    def read(self, algorithms: frozenset[str]) -> Key:
        """Raises ValueError for what is no key for `algorithms`, OSError for a file that cannot be read."""
        data = Path(self.file).read_bytes().strip() if self.file else (self.pem or self.secret).encode()
        is_secret = bool(self.secret) or (bool(self.file) and algorithms <= SECRET_LENGTHS.keys())
        try:
            return (read_secret if is_secret else read_pem)(data, self.kid, algorithms)
        except ValueError as error:
            raise ValueError(f"the key {self.kid or self.file or '?'!r}: {error}") from None


class Settings(BaseSettings, frozen=True):
    audience: str | None
    jwks: str = ""
    keys: tuple[KeySettings, ...] = ()
    issuer: str | None = None
    algorithms: tuple[str, ...] = ("RS256",)
    typ: tuple[str, ...] = ("JWT", "at+jwt")
    leeway: Seconds = Seconds(30)
    max_age: Seconds = Seconds(86_400)
    refresh: Seconds = Seconds(300)
    claims: Names = Names()
    default_tier: str = ""
    tiers: tuple[str, ...] = ()
    scope_prefix: str = "tollkeeper:"
    allow_private: bool = False

    def __post_init__(self) -> None:
        algorithms = frozenset(self.algorithms)
        if unknown := sorted(algorithms - ALGORITHMS):
            raise ValueError(f"`algorithms` cannot hold {unknown[0]!r}; there are {', '.join(sorted(ALGORITHMS))}")
        if not algorithms or (algorithms & ASYMMETRIC and algorithms - ASYMMETRIC):
            raise ValueError("`algorithms` are of public keys or of shared secrets (HS…), never of both")
        if not (self.jwks or self.keys):
            raise ValueError("it has neither `jwks` nor `keys`: every token would be refused")
        if self.jwks:
            self._check_source(algorithms)
        if self.leeway > _MOST_LEEWAY:
            raise ValueError(f"`leeway` is at most {_MOST_LEEWAY:g} s")
        if self.refresh < 1:
            raise ValueError("`refresh` is at least 1 s")
        kids = [key.kid for key in self.keys if key.kid]
        if len(set(kids)) < len(kids):
            raise ValueError("two of `keys` have the same `kid`")
        for key in self.keys:
            if not key.file:
                key.read(algorithms)

    def _check_source(self, algorithms: frozenset[str]) -> None:
        if algorithms - ASYMMETRIC:
            raise ValueError("a published key set holds no shared secrets: HS… goes with `keys` alone")
        schemes = ("https://", "http://") if self.allow_private else ("https://",)
        if not self.jwks.startswith(schemes):
            raise ValueError("`jwks` must begin with https://, or where `allow_private` is true with http://")

"""An issuer of tokens: its keys, its published set, and tokens good and bad; and what a plugin needs of a worker."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Coroutine
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.settings.schema import Role, Tier
from gateway.tasks import spawn

NOW = 1_800_000_000.0
ISSUER, AUDIENCE = "https://id.example.com/", "tollkeeper"
URL = "https://id.example.com/jwks.json"
SECRET = "a secret that is known to both sides, and long enough for every hash"
_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def private_key(algorithm: str, number: int = 0) -> Any:
    """The same for the whole run: making RSA keys takes time."""
    return _make_key("RS256" if algorithm[1:2] == "S" and algorithm[0] in "RP" else algorithm, number)


@cache
def _make_key(algorithm: str, number: int) -> Any:
    if algorithm.startswith("HS"):
        return SECRET
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    return rsa.generate_private_key(65537, 2048)


def public_pem(algorithm: str, number: int = 0) -> str:
    key = private_key(algorithm, number).public_key()
    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def public_jwk(algorithm: str, number: int = 0, **members: Any) -> dict[str, Any]:
    """As it is published; members that are None are left out."""
    key = private_key(algorithm, number).public_key()
    jwk = get_default_algorithms()[algorithm].to_jwk(key, as_dict=True)
    jwk.pop("key_ops", None)
    jwk |= {"kid": "a", "use": "sig", "alg": algorithm, **members}
    return {name: value for name, value in jwk.items() if value is not None}


def published(*jwks: dict[str, Any]) -> bytes:
    return json.dumps({"keys": jwks}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones; a change to None leaves the claim out."""
    all = {"iss": ISSUER, "aud": AUDIENCE, "sub": "acme", "iat": NOW - 10, "exp": NOW + 600, **changes}
    return {name: value for name, value in all.items() if value is not None}


def sign(algorithm: str = "RS256", number: int = 0, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token; `changes` are claims, `header` is added to its header."""
    return jwt.encode(claims(**changes), private_key(algorithm, number), algorithm, {"kid": "a", **(header or {})})


def sign_parts(header: bytes, payload: bytes, algorithm: str = "RS256") -> str:
    """A token whose parts are any bytes, signed truly."""
    signed = encode(header) + b"." + encode(payload)
    computing = get_default_algorithms()[algorithm]
    return (signed + b"." + encode(computing.sign(signed, computing.prepare_key(private_key(algorithm))))).decode()


def encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def exchange_with(*headers: tuple[str, str], received: float = 0.0) -> Exchange:
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return Exchange("id", read_head(b"GET", b"/x", "1.1", [(b"host", b"a"), *fields]), "GET", "/x", received)


class Worker:
    """What a plugin is started with. Time is `now` seconds after `NOW`; `documents` answers fetches, or raises."""

    def __init__(self, document: bytes | Exception = b"") -> None:
        self.document = document
        self.now = 0.0
        self.fetched: list[float] = []
        self.counted: dict[str, float] = {}
        self.clock = self.metrics = self.shared = self
        self.tiers = {"free": Tier(), "pro": Tier(), "vip": Tier()}
        self.roles = {"developer": Role(tier="pro", may=("infer",)), "viewer": Role(may=("traces:read",))}
        self.seen: dict[bytes, float] = {}

    def wall(self) -> float:
        return NOW + self.now

    def monotonic(self) -> float:
        return self.now

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> object:
        return spawn(coroutine, name)

    async def fetch(self, url: str, allow_private: bool = False) -> bytes:
        assert url == URL
        self.fetched.append(self.now)
        if isinstance(self.document, Exception):
            raise self.document
        return self.document

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        self.counted[name] = self.counted.get(name, 0.0) + by

    def set(self, name: str, value: float, *labels: str) -> None:
        self.counted[name] = value

    async def add(self, key: bytes, ttl: float) -> bool:
        is_new = self.seen.get(key, -1.0) <= self.now
        if is_new:
            self.seen[key] = self.now + ttl
        return is_new

"""Keys that may verify, and why others may not: judged here, before the library that computes sees them.

Rules: RFC 7517, 4 and 5 (JWK, sets); RFC 7518, 3 and 6 (lengths, members); RFC 8725, 3.1 to 3.5.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

from plugins.jwt.token import decode_base64url, read_json

SECRET_LENGTHS = {"HS256": 32, "HS384": 48, "HS512": 64}  # least bytes (RFC 7518, 3.2)
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": ("ES256", 32), "P-384": ("ES384", 48), "P-521": ("ES512", 66)}  # and bytes of a coordinate
_PEM_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ASYMMETRIC = frozenset((*_RSA, *(name for name, _ in _CURVES.values()), "EdDSA"))
ALGORITHMS = ASYMMETRIC | SECRET_LENGTHS.keys()

LARGEST_SET = 256 * 1024  # bytes
MOST_KEYS = 100
_LEAST_RSA, _MOST_RSA = 2048, 8192  # bits; a longer one would only cost time
_LONGEST_KID = 256
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")

_computing = get_default_algorithms()


class Unfit(ValueError):
    """Why a key is not used, in a few words."""


class Key(msgspec.Struct, frozen=True):
    """What verifies. `material` is what PyJWT's algorithms take; `algorithms` are the only ones it is used with."""

    kid: str
    algorithms: frozenset[str]
    material: Any

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's. False too for an algorithm that it is not for."""
        return algorithm in self.algorithms and _computing[algorithm].verify(signed, self.material, signature)


def read_set(document: bytes, allowed: frozenset[str]) -> tuple[dict[str, Key], list[str]]:
    """The keys of a JWKS by their id, and why others were left out. Raises ValueError for what is no JWKS.

    Two keys of one id are both left out: nobody could say which of them a token means. A key without an id is kept
    under one that no token can name.
    """
    if len(document) > LARGEST_SET:
        raise ValueError(f"the key set has more than {LARGEST_SET} bytes")
    parsed = read_json(document)
    keys = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(keys, list):
        raise ValueError("the key set has no `keys`")
    if len(keys) > MOST_KEYS:
        raise ValueError(f"the key set has more than {MOST_KEYS} keys")
    found: dict[str, Key] = {}
    refused, twice = [], set()
    for at, jwk in enumerate(keys):
        try:
            key = read_jwk(jwk, allowed)
        except Unfit as unfit:
            refused.append(f"key {at}: {unfit}")
            continue
        if key.kid in found:
            twice.add(key.kid)
            refused.append(f"key {at}: another one has the same `kid`")
        found[key.kid or f"\0{at}"] = key
    return {kid: key for kid, key in found.items() if kid not in twice}, refused


def read_jwk(jwk: object, allowed: frozenset[str]) -> Key:
    """A public key from a published set. `x5c`, `x5u` and what is unknown are not looked at. Raises Unfit."""
    if not isinstance(jwk, dict):
        raise Unfit("it is not an object")
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid.encode(errors="replace")) > _LONGEST_KID or "\0" in kid:
        raise Unfit("its `kid` is not a short text")
    _check_purpose(jwk)
    algorithms, members = _read_kind(jwk)
    if "alg" in jwk:
        if jwk["alg"] not in algorithms:
            raise Unfit("its `alg` is not for this kind of key")
        algorithms = (jwk["alg"],)
    usable = _intersect(algorithms, allowed)
    try:
        material = _computing[next(iter(usable))].from_jwk({name: jwk[name] for name in members})
    except (PyJWTError, UnsupportedAlgorithm, ValueError):
        raise Unfit("its numbers are not those of a key") from None
    return Key(kid, usable, material)


def read_pem(pem: bytes, kid: str, allowed: frozenset[str]) -> Key:
    """A public key in PEM (SubjectPublicKeyInfo). Raises Unfit."""
    try:
        material = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise Unfit("it is not a public key in PEM; a private key or a certificate is not taken") from None
    if isinstance(material, RSAPublicKey):
        _check_rsa(material.public_numbers().n, material.public_numbers().e)
        algorithms: Sequence[str] = _RSA
    elif isinstance(material, EllipticCurvePublicKey) and material.curve.name in _PEM_CURVES:
        algorithms = (_PEM_CURVES[material.curve.name],)
    elif isinstance(material, Ed25519PublicKey):
        algorithms = ("EdDSA",)
    else:
        raise Unfit("it is neither RSA, nor of the curves P-256, P-384 and P-521, nor Ed25519")
    return Key(kid, _intersect(algorithms, allowed), material)


def read_secret(secret: bytes, kid: str, allowed: frozenset[str]) -> Key:
    """A shared secret; for each algorithm it is as long as the hash, at least (RFC 7518, 3.2). Raises Unfit."""
    wanted = _intersect(tuple(SECRET_LENGTHS), allowed)
    longest = max(SECRET_LENGTHS[name] for name in wanted)
    if len(secret) < longest:
        raise Unfit(f"the secret has {len(secret)} bytes; {' and '.join(sorted(wanted))} need {longest}")
    return Key(kid, wanted, secret)


def _check_purpose(jwk: Mapping[str, Any]) -> None:
    if jwk.get("use", "sig") != "sig":
        raise Unfit("its `use` is not sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or operations.count("verify") != 1:
        raise Unfit("its `key_ops` do not hold verify")
    for name in _PRIVATE:
        if name in jwk and jwk.get("kty") != "oct":
            raise Unfit("it is a private key that was published")


def _read_kind(jwk: Mapping[str, Any]) -> tuple[Sequence[str], tuple[str, ...]]:
    """The algorithms of a key's kind, and the members that make it."""
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            numbers = (int.from_bytes(_decode(jwk, name)) for name in ("n", "e"))
            _check_rsa(*numbers)
            return _RSA, ("kty", "n", "e")
        case "EC", str() as curve if curve in _CURVES:
            algorithm, length = _CURVES[curve]
            if any(len(_decode(jwk, name)) != length for name in ("x", "y")):
                raise Unfit("its coordinates are not as long as the curve's")
            return (algorithm,), ("kty", "crv", "x", "y")
        case "OKP", "Ed25519":
            if len(_decode(jwk, "x")) != 32:
                raise Unfit("its `x` has not 32 bytes")
            return ("EdDSA",), ("kty", "crv", "x")
        case "oct", _:
            raise Unfit("a shared secret has no place in a published set")
    raise Unfit("it is of no kind that is known here")


def _check_rsa(modulus: int, exponent: int) -> None:
    if not _LEAST_RSA <= modulus.bit_length() <= _MOST_RSA or not modulus & 1:
        raise Unfit(f"its modulus has not {_LEAST_RSA} to {_MOST_RSA} bits")
    if not 65537 <= exponent < 1 << 32 or not exponent & 1:
        raise Unfit("its exponent is not an odd number from 65537 to 2^32")


def _decode(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    try:
        return decode_base64url(value.encode()) if isinstance(value, str) else b""
    except ValueError:
        raise Unfit(f"its `{name}` is not base64url") from None


def _intersect(algorithms: Sequence[str], allowed: frozenset[str]) -> frozenset[str]:
    usable = allowed.intersection(algorithms)
    if not usable:
        raise Unfit("`algorithms` allows none that it is for")
    return usable

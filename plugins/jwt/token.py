"""A JWS in compact form, read strictly before anything is believed (RFC 7515, 7.1; RFC 8725, 2 and 3).

Header members that tell where a key is (`jku`, `x5u`, `jwk`, `x5c`) are never looked at.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, NoReturn

import msgspec

LARGEST = 8192  # bytes of a token
_LONGEST_KID = 256  # bytes
_REFUSED = ("crit", "b64", "zip", "enc")  # what would change how the rest is to be read
_is_base64url = re.compile(rb"[A-Za-z0-9_-]+").fullmatch


class Malformed(ValueError):
    """Why a token cannot be read: a few words that quote nothing of it."""


class Token(msgspec.Struct, frozen=True):
    """What a token says, not verified. `signed` are the bytes that the signature is over."""

    algorithm: str
    kid: str | None
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read_token(token: bytes, types: frozenset[str]) -> Token:
    """Raises Malformed. `types` are values of `typ` in lower case; a token without one is of the type `jwt`."""
    if len(token) > LARGEST:
        raise Malformed(f"it is longer than {LARGEST} bytes")
    parts = token.split(b".")
    if len(parts) != 3:
        raise Malformed("it does not have three parts")
    header, payload, signature = (decode_base64url(part) for part in parts)
    head = _read_object(header, "header")
    _check_type(head.get("typ", "jwt"), types)
    for name in _REFUSED:
        if name in head:
            raise Malformed(f"its header has `{name}`")
    algorithm, kid = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str):
        raise Malformed("its header names no algorithm")
    if "kid" in head and not (isinstance(kid, str) and len(kid.encode(errors="replace")) <= _LONGEST_KID):
        raise Malformed(f"its `kid` is not a text of at most {_LONGEST_KID} bytes")
    return Token(algorithm, kid, _read_object(payload, "payload"), token.rpartition(b".")[0], signature)


def decode_base64url(text: bytes) -> bytes:
    """RFC 7515, 2: no padding, no other character, no bits that mean nothing. Raises Malformed."""
    if _is_base64url(text) is None or len(text) % 4 == 1:
        raise Malformed("a part is not base64url")
    data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if urlsafe_b64encode(data).rstrip(b"=") != text:
        raise Malformed("a part has stray bits")
    return data


def read_json(data: bytes) -> Any:
    """JSON in UTF-8 without duplicate members, numbers that are none, or endless nesting. Raises ValueError."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _read_object(data: bytes, part: str) -> dict[str, Any]:
    try:
        value = read_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Malformed(f"its {part} is not a JSON object without duplicates")
    return value


def _check_type(given: object, types: frozenset[str]) -> None:
    """`typ` has no case, and may leave out `application/` (RFC 7515, 4.1.9)."""
    if not isinstance(given, str) or given.lower().removeprefix("application/") not in types:
        raise Malformed("its `typ` is not one that is taken here")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate members")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")

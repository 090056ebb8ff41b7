"""Formats on the wire that several parts read: a JSON object one level deep, media types, Cache-Control."""

import json
import math
import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import msgspec

from gateway.errors import GatewayError

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_NOT_BRACKETS = bytes(i for i in range(256) if i not in b"[]{}")
_NOT_MARKS = bytes(i for i in range(256) if i not in b'[]{}"')
_SQUARE = bytes.maketrans(b"{}", b"[]")  # in valid JSON the kind of a bracket says nothing about depth
_STEPS = {ord("["): 1, ord("]"): -1}
_DIGITS = bytes.maketrans(b"0123456789E", bytes(10) + b"e")
_LONG = bytes(200)  # digits; with fewer of them and an exponent below 100 a double can hold it
_MANY = 1024  # brackets that are not worth a second thought
_MEMBERS = 10_000  # of one object; no model API has a hundred


def parse_object(body: bytes, depth: int) -> dict[str, msgspec.Raw]:
    """The members of a JSON object (RFC 8259), each value left as it stands.

    Raises GatewayError 1210 (not JSON, not UTF-8, not an object, far too many members), 1211 (a member twice: servers
    differ in which one they take, so a check of one could be passed with the other), 1212 (nested deeper than `depth`).
    """
    try:
        if not body.isascii():
            body.decode()  # the decoder does not look into values that it leaves as they stand
        fields = _objects.decode(body)
        if b"\\u" in body and b"\\ud" in body.lower():
            msgspec.json.decode(body)  # refuses lone surrogates
        if _may_overflow(body):
            json.loads(body, parse_int=_check_number, parse_float=_check_number)
    except UnicodeDecodeError as error:
        raise GatewayError(1210, f"The body is not UTF-8 (byte {error.start}).") from None
    except RecursionError:
        raise GatewayError(1212, f"The JSON is nested deeper than {depth} levels.") from None
    except msgspec.ValidationError as error:
        out_of_range = str(error).startswith("Number out of range")
        message = "A number is out of range." if out_of_range else "The body must be a JSON object."
        raise GatewayError(1210, message) from None
    except msgspec.DecodeError as error:
        raise GatewayError(1210, f"The body is not valid JSON: {error}.") from None
    if len(fields) > _MEMBERS:
        raise GatewayError(1210, f"The body has more than {_MEMBERS} fields.")
    if is_deeper(body, depth):
        raise GatewayError(1212, f"The JSON is nested deeper than {depth} levels.")
    if _encode(fields) != body and (name := _find_duplicate(body)) is not None:
        raise GatewayError(1211, "A field stands twice in the body.", param=name[:64])
    return fields


def _may_overflow(body: bytes) -> bool:
    """Whether a number may be too large for a double (1e400): servers read such as infinity."""
    marked = body.translate(_DIGITS)
    return b"\0\0\0" in marked and (b"\0e\0\0\0" in marked or b"\0e+\0\0\0" in marked or _LONG in marked)


def _check_number(text: str) -> None:
    if math.isinf(float(text)):
        raise GatewayError(1210, "A number is out of range.")


def encode_object(fields: dict[str, msgspec.Raw]) -> bytes:
    return _encode(fields)


def is_deeper(body: bytes, limit: int) -> bool:
    """Whether valid JSON nests deeper than `limit`.

    Each round takes the innermost brackets away. What is left after `limit` rounds is deeper, or has brackets inside
    strings: those are counted exactly, as is what would take many long rounds (10 MB in 0.3 s at the worst).
    """
    if body.count(b"{") + body.count(b"[") <= limit:
        return False
    brackets = body.translate(_SQUARE, _NOT_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        left = brackets.replace(b"[]", b"")
        if len(left) > _MANY and 2 * len(left) > len(brackets):
            break
        brackets = left
    return bool(brackets) and _count_depth(body) > limit


def _count_depth(body: bytes) -> int:
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # what is left of the quotes begins and ends strings
    outside = b"".join(body.translate(_SQUARE, _NOT_MARKS).split(b'"')[::2])
    return max(accumulate(map(_STEPS.__getitem__, outside)), default=0)


def _find_duplicate(body: bytes) -> str | None:
    """The first name that stands twice at the top of a JSON object. Slow: used where re-encoding shows a difference."""
    last: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        nonlocal last
        last = pairs  # objects end inside out: the last one is the outermost

    json.loads(body, object_pairs_hook=keep, parse_int=str, parse_float=str)
    seen: set[str] = set()
    for name, _ in last:
        if name in seen:
            return name
        seen.add(name)
    return None


_OF_BYTES = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges"))


def is_json(content_type: bytes | None) -> bool:
    """Whether a media type says JSON (RFC 6839, 3.1 for `+json`)."""
    name = (content_type or b"").partition(b";")[0].strip().lower()
    return name == b"application/json" or name.endswith(b"+json")


def forget_bytes(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer whose body was changed: digests go, a strong ETag becomes weak (RFC 9110, 8.8.1)."""
    return [
        (name, b"W/" + value if name == b"etag" and not value.startswith(b"W/") else value)
        for name, value in headers
        if name not in _OF_BYTES
    ]


_directive = re.compile(r'([^\s,=;"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?')


def read_directives(values: Iterable[bytes]) -> dict[str, str]:
    """The directives of Cache-Control fields by lower-case name; empty where one has no value (RFC 9111, 5.2).

    Of one that stands twice the first counts (4.2.1).
    """
    found: dict[str, str] = {}
    for value in values:
        for match in _directive.finditer(value.decode("latin-1")):
            quoted, plain = match[2], match[3]
            found.setdefault(match[1].lower(), quoted if quoted is not None else plain or "")
    return found


def read_seconds(text: str | None) -> int | None:
    """A delta-seconds (RFC 9111, 1.2.2), None where it is none; what is too large is 2^31."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return int(text) if len(text) < 11 else 2**31

"""One spelling for every path. The normalised path is what is matched, limited, logged and forwarded, so that no two
parts of the system, nor the upstream, can read one request differently (RFC 3986, 5.2.4 and 6.2.2).
"""

import re

from gateway.http.faults import BadRequest

_plain = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?|/").fullmatch
_escape = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_FORBIDDEN_ESCAPES = frozenset(b"/\\") | frozenset(range(0x20)) | {0x7F}
_twice_escaped = re.compile(rb"%25(?:2[EeFf5]|5[Cc]|00)").search
_legal = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*").fullmatch


def normalise_path(raw: bytes) -> str:
    """The one spelling of an absolute path without its query.

    Unreserved escapes are decoded, the others written with upper-case digits, dot segments resolved. Raises BadRequest
    1205 on what two programs may read differently: escaped slashes, backslashes and control characters (once or twice
    escaped), empty segments, `;` in dot segments, a bare `%`, bytes outside UTF-8, or `..` above the root.
    """
    if _plain(raw):
        return raw.decode("ascii")
    if not raw.startswith(b"/"):
        raise _bad("it does not begin with a slash")
    if not _legal(raw):
        raise _bad("it holds a character that must be escaped")
    if raw.count(b"%") != len(_escape.findall(raw)):
        raise _bad("it holds a bare percent sign")
    if _twice_escaped(raw):
        raise _bad("it is escaped twice")
    path = _escape.sub(_decode, raw)
    if b"//" in path:
        raise _bad("it holds an empty segment")
    path = _resolve(path)
    _check_utf8(path)
    return path.decode("ascii")


def _decode(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    if code in _UNRESERVED:
        return bytes((code,))
    if code in _FORBIDDEN_ESCAPES:
        raise _bad(f"it holds {match[0].decode()}")
    return match[0].upper()


def _resolve(path: bytes) -> bytes:
    """Dot segments removed (RFC 3986, 5.2.4), refusing to climb above the root."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment.startswith((b".;", b"..;", b".%3B", b"..%3B")):
            raise _bad("a dot segment has parameters")
        if segment == b"..":
            if not kept:
                raise _bad("it climbs above the root")
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def _check_utf8(path: bytes) -> None:
    try:
        _escape.sub(lambda match: bytes((int(match[1], 16),)), path).decode("utf-8")
    except UnicodeDecodeError:
        raise _bad("it is not UTF-8") from None


def _bad(why: str) -> BadRequest:
    return BadRequest(1205, f"The path is not allowed: {why}.")

"""Heads of requests and responses: what llhttp parsed, checked for what it leaves open, in the shape others read.

Header names are lower-case bytes everywhere behind this module.
"""

import re

from gateway.http.faults import BadRequest
from gateway.http.hygiene import Headers, encode_headers, request_headers, response_headers
from gateway.http.memo import Memo
from gateway.http.path import normalise_path

__all__ = [
    "BadRequest", "Headers", "RequestHead", "ResponseHead", "encode_headers", "header_names", "normalise_path",
    "read_head", "request_headers", "response_headers",
]  # fmt: skip

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_AT_MOST_ONCE = {b"host": 1202, b"content-length": 1203, b"transfer-encoding": 1203, b"expect": 1204}
_is_name = re.compile(rb"[A-Za-z0-9!#$%&'*+.^`|~-]+").fullmatch
_is_host = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?").fullmatch
_absolute = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE).fullmatch


class RequestHead:
    """The head of one request.

    `target` is as received; `path` is its one spelling, `query` raw and without `?`; `upgrade` is the lower-case token
    of a real upgrade; `content_length` is None where none was given.
    """

    __slots__ = (
        "_first", "chunked", "content_length", "expect_continue", "get", "headers", "host", "keep_alive", "method",
        "path", "query", "target", "upgrade", "version",
    )  # fmt: skip

    def __init__(self, method: str, target: bytes, version: str, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.path = self.query = ""
        self.keep_alive = version == "1.1"
        self.upgrade: bytes | None = None
        self.expect_continue = False
        self.content_length: int | None = None
        self.chunked = False
        self.host = b""
        self._index(dict(headers))

    def _index(self, first: dict[bytes, bytes]) -> None:
        self._first = first
        self.get = first.get  # no method of ours in between: it is called a dozen times a request

    def get_all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


class ResponseHead:
    """The head of one final response (or of a 101)."""

    __slots__ = ("_first", "headers", "reason", "status", "version")

    def __init__(self, status: int, reason: bytes, version: str, headers: Headers) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.headers = headers
        self._first = dict(headers)
        if len(self._first) != len(headers):
            self._first = dict(reversed(headers))

    def get(self, name: bytes) -> bytes | None:
        """The first value of a lower-case name."""
        return self._first.get(name)


def read_head(method: bytes, target: bytes, version: str, headers: Headers) -> RequestHead:
    """A checked head; raises BadRequest (1201 to 1209, 1217). RFC 9112, 3 and 6; RFC 9110, 7.2 and 10.1.1.

    What llhttp already refuses (bad tokens, CL with TE, two lengths) is not checked again. `keep_alive` and `upgrade`
    are left to the caller, who has the parser's word for them.
    """
    if method not in METHODS:
        raise BadRequest(1207, f"The method {method.decode('ascii')} is not supported.")
    if version != "1.1" and version != "1.0":
        raise BadRequest(1209, f"HTTP/{version} is not spoken here.")
    head = RequestHead(method.decode("ascii"), target, version, headers)
    first = head._first
    if len(first) != len(headers):
        first = _first_values(headers)
        head._index(first)
    host = first.get(b"host")
    if target.startswith(b"/"):
        head.path, head.query = _targets[target]
    else:
        host = _read_other_target(head, host)
    if host:
        head.host = _hosts[host]
    elif host is not None or version == "1.1":
        raise BadRequest(1202, "The request names no host.")
    if (length := first.get(b"content-length")) is not None:
        head.content_length = int(length)
    if (coding := first.get(b"transfer-encoding")) is not None:
        if coding.lower() != b"chunked" or version != "1.1" or length is not None:
            raise BadRequest(1203, "The only transfer coding is chunked, in HTTP/1.1, without Content-Length.")
        head.chunked = True
    if (expected := first.get(b"expect")) is not None:
        if expected.lower() != b"100-continue":
            raise BadRequest(1217, "The only expectation is 100-continue.")
        head.expect_continue = version == "1.1" and (head.chunked or bool(head.content_length))
    return head


def _read_other_target(head: RequestHead, host: bytes | None) -> bytes | None:
    """The asterisk and absolute forms (RFC 9112, 3.2); the latter overrides Host."""
    if head.target == b"*" and head.method == "OPTIONS":
        head.path = "*"
        return host
    match = _absolute(head.target)
    if match is None:
        raise BadRequest(1205, "The request target is not a path.")
    head.path, head.query = _split_target(match[2] if match[2].startswith(b"/") else b"/" + match[2])
    return match[1]


def _split_target(target: bytes) -> tuple[str, str]:
    raw, _, query = target.partition(b"?")
    if b"#" in query:
        raise BadRequest(1205, "The request target holds a fragment.")
    return normalise_path(raw), query.decode("latin-1")


def _first_values(headers: Headers) -> dict[bytes, bytes]:
    first: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in first:
            first[name] = value
        elif name in _AT_MOST_ONCE:
            raise BadRequest(_AT_MOST_ONCE[name], f"{name.decode()} stands twice.")
    return first


def _check_name(raw: bytes) -> bytes:
    if not _is_name(raw):
        raise BadRequest(1204, "A header name holds a character that is not allowed.")
    return raw.lower()


def _check_host(raw: bytes) -> bytes:
    if not _is_host(raw):
        raise BadRequest(1202, "The host is not a name or address with an optional port.")
    return raw.lower()


header_names: Memo[bytes] = Memo(_check_name)
"""Raw name -> checked lower-case name. Underscores are refused: to CGI-like servers they are dashes."""
_hosts: Memo[bytes] = Memo(_check_host)
_targets: Memo[tuple[str, str]] = Memo(_split_target)

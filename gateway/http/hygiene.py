"""Which header fields may cross the gateway, in either direction. Everything that frames a message, names the client's
or the upstream's connection, claims an identity or belongs to the gateway stops here (RFC 9110, 7.6.1).
"""

import re
from typing import TYPE_CHECKING

from gateway.http.memo import Memo

if TYPE_CHECKING:
    from gateway.http.head import RequestHead, ResponseHead

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_REQUEST_NAMES = _HOP_BY_HOP | frozenset((
    b"authorization", b"api-key", b"x-api-key", b"cookie", b"host", b"content-length", b"expect",
    b"forwarded", b"x-real-ip", b"x-request-id",
    b"openai-organization", b"openai-project",  # who pays for what is asked with our key
))  # fmt: skip
_REQUEST_PREFIXES = (
    b"x-tollkeeper-", b"x-consumer-", b"x-credential-", b"x-anonymous-", b"x-gateway-", b"x-forwarded-", b"proxy-",
)  # fmt: skip
_RESPONSE_NAMES = _HOP_BY_HOP | frozenset((b"server", b"date", b"content-length", b"x-request-id", b"alt-svc"))
_RESPONSE_PREFIXES = (
    b"x-ratelimit-", b"ratelimit", b"x-quota-", b"x-tollkeeper-", b"x-consumer-", b"x-credential-",
    b"access-control-", b"proxy-",
)  # fmt: skip
_harmless_connection = re.compile(rb"\s*(?:keep-alive|close|upgrade)?\s*", re.IGNORECASE).fullmatch


def may_go_up(name: bytes) -> bool:
    """Whether a client's header of this lower-case name goes on to an upstream."""
    return name not in _REQUEST_NAMES and not name.startswith(_REQUEST_PREFIXES)


def may_come_down(name: bytes) -> bool:
    """Whether an upstream's header of this lower-case name goes on to a client."""
    return name not in _RESPONSE_NAMES and not name.startswith(_RESPONSE_PREFIXES)


_up = Memo(may_go_up)
_down = Memo(may_come_down)
_names_nothing = Memo(lambda value: _harmless_connection(value) is not None, 64)


def request_headers(head: "RequestHead") -> Headers:
    """The client's fields that may go to an upstream. Credentials, identities, framing and hops do not."""
    return _filter(head.headers, head.get(b"connection"), _up)


def response_headers(head: "ResponseHead") -> Headers:
    """The upstream's fields that may go to a client. The server writes Date, Content-Length and framing itself."""
    return _filter(head.headers, head.get(b"connection"), _down)


def _filter(headers: Headers, connection: bytes | None, allowed: Memo[bool]) -> Headers:
    if connection is None or _names_nothing[connection]:
        return [field for field in headers if allowed[field[0]]]
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return [field for field in headers if allowed[field[0]] and field[0] not in named]


def encode_headers(headers: Headers) -> bytes:
    """The fields as lines. Raises ValueError if a name or value holds a line break: one field is one line."""
    block = b"".join([b"%b: %b\r\n" % field for field in headers])
    if block.count(b"\n") != len(headers) or block.count(b"\r") != len(headers):
        raise ValueError("a header field holds a line break")
    return block

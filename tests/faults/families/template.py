"""A valid chat request in parts, from which every malformed one differs in one place."""

import string
from collections.abc import Iterator

import msgspec

TOKEN = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
"""The characters of methods and field names (RFC 9110, 5.6.2)."""
CONTROLS = (*range(0x00, 0x09), *range(0x0A, 0x20), 0x7F)
"""Control characters, without HTAB."""
BODY = b'{"model":"%b","messages":[{"role":"user","content":"Say \\"hi\\" 12.5e-1 times"}],"stream":false,"n":1}'

Cases = Iterator[tuple[str, bytes]]


class Template(msgspec.Struct, frozen=True):
    """`key` and `model` are such that the unchanged request would be answered with 200."""

    key: bytes
    model: bytes = b"m"
    host: bytes = b"gateway"
    path: bytes = b"/v1/chat/completions"

    @property
    def body(self) -> bytes:
        return BODY % self.model

    @property
    def line(self) -> bytes:
        return b"POST %b HTTP/1.1" % self.path

    @property
    def fields(self) -> bytes:
        """The header lines that every request has unless it says otherwise."""
        return b"Host: %b\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n" % (self.host, self.key)

    def send(
        self, body: bytes | None = None, line: bytes = b"", extra: bytes = b"", fields: bytes | None = None
    ) -> bytes:
        """A whole request with an honest Content-Length. `extra` holds further header lines."""
        body = self.body if body is None else body
        return self.frame(b"Content-Length: %d\r\n%b" % (len(body), extra), body, line, fields)

    def frame(self, framing: bytes, body: bytes, line: bytes = b"", fields: bytes | None = None) -> bytes:
        """A request that frames its body as it likes."""
        return b"%b\r\n%b%b\r\n%b" % (line or self.line, self.fields if fields is None else fields, framing, body)

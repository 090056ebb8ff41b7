"""One request as a handler sees it: its head, its body, and the pen to answer with."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway.http.body import RequestBody
from gateway.http.faults import ClientGone
from gateway.http.hygiene import Headers, encode_headers

if TYPE_CHECKING:
    from gateway.http.connection import Connection
    from gateway.http.head import RequestHead

_JOIN_BELOW = 65_536  # bytes of a body that are cheaper to copy than to write separately
_BODILESS = frozenset((204, 304))


class _StatusLines(dict[int, bytes]):
    def __missing__(self, status: int) -> bytes:
        return b"HTTP/1.1 %d Unknown\r\n" % status


_STATUS_LINES = _StatusLines((s.value, f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode()) for s in HTTPStatus)


class Request(RequestBody):
    """Answer with `respond`, or with `begin`, any number of `write`, and `end`. Writing to a client who has left raises
    ClientGone.

    `received` is the time of the head in seconds, on the clock of loop.time() but not rounded to its milliseconds;
    `started`: an answer has begun; `bytes_sent` counts body bytes given to the transport. `on_pause` and `on_resume`
    are called when the client reads slower than we write, and when it caught up; one that stops reading for
    `write_timeout` is cut off (`stalled`), which cancels the handler.
    """

    __slots__ = (
        "_chunked", "_held", "_left", "bytes_sent", "ended", "is_over", "keep_alive", "on_pause", "on_resume",
        "received", "stalled", "started",
    )  # fmt: skip

    def __init__(self, head: "RequestHead", connection: "Connection", received: float) -> None:
        super().__init__(head, connection)
        self.received = received
        self.keep_alive = head.keep_alive
        self.started = False
        self.ended = False
        self.is_over = False  # the handler is done with it
        self.stalled = False
        self.bytes_sent = 0
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self._held = b""
        self._left: int | None = None
        self._chunked = False

    @property
    def peer(self) -> str:
        """The client's IP address; empty for a unix socket."""
        return self.connection.peer

    @property
    def scheme(self) -> str:
        return self.connection.scheme

    @property
    def paused(self) -> bool:
        """The client reads slower than we write: hold further bytes back."""
        return self.connection.write_paused

    # --- the answer

    def respond(self, status: int, headers: Headers, body: bytes, extra: bytes = b"") -> None:
        """The complete answer. `extra` holds ready header lines, each with its CRLF."""
        length = b"" if status in _BODILESS else b"content-length: %d\r\n" % len(body)
        head = self._begin(status, headers, extra, length)
        self.ended = True
        if self.head.method == "HEAD" or status in _BODILESS:
            self.connection.send(head)
            return
        self.bytes_sent = len(body)
        if len(body) < _JOIN_BELOW:
            self.connection.send(head + body)
        else:
            self.connection.send(head)
            self.connection.send(body)

    def begin(self, status: int, headers: Headers, length: int | None, extra: bytes = b"") -> None:
        """The head of a streamed answer, sent together with the first write.

        `length` is the number of body bytes to come, None if unknown: then the body is chunked, and delimited by the
        connection's end for HTTP/1.0 clients.
        """
        framing = b""
        if status in _BODILESS:
            length = 0
        elif length is not None:
            framing = b"content-length: %d\r\n" % length
        elif self.head.version == "1.1":
            framing = b"transfer-encoding: chunked\r\n"
            self._chunked = self.head.method != "HEAD"
        else:
            self.keep_alive = False
        self._left = length
        self._held = self._begin(status, headers, extra, framing)

    def _begin(self, status: int, headers: Headers, extra: bytes, framing: bytes) -> bytes:
        if self.started:
            raise RuntimeError("the request is answered already")
        lines = encode_headers(headers)
        self.started = True
        return b"%b%b%b%b%b%b\r\n" % (
            _STATUS_LINES[status],
            self.connection.server.date.line,
            framing,
            lines,
            extra,
            self._connection_line(),
        )

    def _connection_line(self) -> bytes:
        connection = self.connection
        if self.keep_alive and not connection.server.draining and (self.complete or connection.may_skip_rest(self)):
            return b"" if self.head.version == "1.1" else b"connection: keep-alive\r\n"
        self.keep_alive = False
        return b"connection: close\r\n"

    def flush_head(self) -> None:
        """Send the held head now, before there is a body."""
        if self._held:
            held, self._held = self._held, b""
            self.connection.send(held)

    def write(self, data: bytes) -> None:
        """A piece of the body, of any size. More than the announced length is a ValueError."""
        if not data or self.head.method == "HEAD":
            return
        if self._left is not None:
            if len(data) > self._left:
                raise ValueError("more body than announced")
            self._left -= len(data)
        self.bytes_sent += len(data)
        if self._chunked:
            data = b"%b%x\r\n%b\r\n" % (self._held, len(data), data)
        elif self._held:
            data = self._held + data
        self._held = b""
        self.connection.send(data)

    def end(self) -> None:
        """The end of the body. Less of it than announced breaks the connection instead."""
        if self._left and self.head.method != "HEAD":
            self.abort()
            return
        self.ended = True
        tail = self._held + b"0\r\n\r\n" if self._chunked else self._held
        self._held = b""
        if tail:
            self.connection.send(tail)

    async def drain(self) -> None:
        """Wait until the client has caught up. Raises ClientStalled after `write_timeout`."""
        if self.connection.write_paused:
            await self.connection.drained()

    def inform(self, status: int, headers: Headers) -> None:
        """An interim answer (1xx); nothing for HTTP/1.0 clients, who do not know them (RFC 9110, 15.2)."""
        if self.head.version == "1.1":
            self.connection.send(b"%b%b\r\n" % (_STATUS_LINES[status], encode_headers(headers)))

    def upgrade(self) -> tuple[asyncio.Transport, bytes]:
        """Hand over the raw transport and what was read beyond the head. To be called after `inform(101, …)`."""
        if self.connection.gone:
            raise ClientGone
        self.started = self.ended = True
        self.keep_alive = False
        return self.connection.release()

    def abort(self) -> None:
        """Break the answer off so that no client takes it for whole. What was written before is still flushed."""
        self.keep_alive = False
        self._held = b""
        self.ended = True
        is_framed = self._chunked or self._left is not None
        self.connection.break_off(is_framed)

"""The reading half of an upstream connection: bytes in, one answer out, and every way that can fail told apart."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.http.deadline import NEVER
from gateway.http.faults import (
    BadResponse,
    FirstByteTimeout,
    HeaderTooLarge,
    IdleTimeout,
    ResetBeforeResponse,
    TotalTimeout,
    Truncated,
    UpstreamError,
)
from gateway.http.head import Headers, ResponseHead
from gateway.http.memo import Memo
from gateway.http.origin import Origin

HIGH_WATER = 262_144  # bytes of a body that nobody takes above which reading from the upstream pauses


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Sizes in bytes, times in seconds, counts of connections."""

    header_bytes: int = 65_536
    header_count: int = 200
    idle_timeout: float = 60.0
    idle_per_origin: int = 256
    idle_total: int = 1024
    dns_timeout: float = 2.0
    dns_ttl: float = 30.0


class AnswerReader(asyncio.Protocol):
    """Feeds llhttp. Body pieces go to `_sink`, once per segment, or wait in `_parts` until they are asked for."""

    __slots__ = (
        "_body_begun", "_dirty", "_error", "_got", "_head_size", "_headers", "_is_head", "_is_suspect", "_keep_alive",
        "_limits", "_loop", "_needs_eof", "_parser", "_parts", "_paused", "_reason", "_sink", "_transport", "_unread",
        "_waiter", "_writable", "complete", "deadline", "first_byte_timeout", "head", "idle_timeout", "leftover",
        "origin", "total_deadline",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: Origin, limits: ClientLimits) -> None:
        self.origin = origin
        self.first_byte_timeout = self.idle_timeout = self.deadline = self.total_deadline = NEVER
        self.complete = True
        self.head: ResponseHead | None = None
        self.leftover = b""
        self._loop = loop
        self._limits = limits
        self._parser: HttpResponseParser | None = None
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._reason = b""
        self._unread = self._head_size = 0
        self._got = self._body_begun = self._paused = self._dirty = self._is_head = self._is_suspect = (
            self._needs_eof
        ) = False
        self._keep_alive = True

    # --- bytes

    def data_received(self, data: bytes) -> None:
        if self.complete or self._parser is None:
            self._take_surplus(data)
            return
        self._got = True
        if len(data) > self._limits.header_bytes:
            self._is_suspect = True
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.leftover = data[upgrade.args[0] :]
            self._keep_alive = False
        except HttpParserError as error:
            self._refuse(error)
        if self._sink is not None and self._parts:
            self._hand_on(self._sink)
        if self.complete or self._error is not None:
            self.deadline = NEVER
            self._wake()
        elif self.head is None:
            self._count_head(len(data))
        else:
            if self._sink is None:
                self._hold(len(data))
                self._wake()
            if self._body_begun and not self._paused:
                self.deadline = self._soon(self.idle_timeout)

    def eof_received(self) -> None:
        self._dirty = True
        if self._needs_eof and self.head is not None and not self.complete and self._error is None:
            self.complete = True
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._dirty = True
        if not self.complete:
            text = f"{self.origin}: {exc or 'the connection was closed'}"
            kind = ResetBeforeResponse if self.head is None else Truncated
            self._fail(kind(text, got=self._got))
        self._parser = None  # it holds our bound methods

    def _take_surplus(self, data: bytes) -> None:
        """Bytes behind an answer: the tunnel's after a 101, else a reason never to use this connection again."""
        if self.head is not None and self.head.status == 101:
            self.leftover += data
        else:
            self._dirty = True
            self._transport.close()

    def _hand_on(self, sink: Callable[[bytes], None]) -> None:
        parts, self._parts = self._parts, []
        try:
            sink(parts[0] if len(parts) == 1 else b"".join(parts))
        except Exception as error:
            self._fail(error)

    def _hold(self, received: int) -> None:
        """Nobody takes the body yet: stop reading before it piles up."""
        self._unread += received
        if self._unread > HIGH_WATER:
            self._transport.pause_reading()

    def _count_head(self, received: int) -> None:
        self._is_suspect = True
        self._head_size += received
        if self._head_size > self._limits.header_bytes:
            self._fail(self._too_large())

    # --- time

    def _soon(self, seconds: float) -> float:
        when = self._loop.time() + seconds
        return when if when < self.total_deadline else self.total_deadline

    def expire(self) -> None:
        if self.complete:  # idle for long enough
            self.deadline = NEVER
            self._dirty = True
            self._transport.close()
        elif self.total_deadline <= self._loop.time():
            self._fail(TotalTimeout(f"{self.origin}: the time for the whole exchange is over", got=self._got))
        elif self._body_begun or self._writable is not None:
            self._fail(IdleTimeout(f"{self.origin}: nothing moved for {self.idle_timeout} s", got=self._got))
        else:
            self._fail(FirstByteTimeout(f"{self.origin}: no answer in {self.first_byte_timeout} s", got=self._got))

    # --- ends

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        """The exchange is over; whoever waits, now or later, gets `error`."""
        if self._error is None:
            self._error = error
        self._dirty = True
        self.deadline = NEVER
        self._transport.abort()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._wake()

    def _refuse(self, error: HttpParserError) -> None:
        self._dirty = True
        if self.complete:
            return  # bytes behind the end of the answer
        cause = error.__context__
        self._fail(cause if isinstance(cause, UpstreamError) else BadResponse(f"{self.origin}: {error}", got=True))

    def _too_large(self) -> HeaderTooLarge:
        return HeaderTooLarge(f"{self.origin}: the head of the answer is too large", got=True)

    # --- llhttp's callbacks

    def on_message_begin(self) -> None:
        if self.complete:
            self._dirty = True
        self._headers = []
        self._reason = b""

    def on_status(self, piece: bytes) -> None:
        self._reason += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:  # trailers are dropped
            self._headers.append((_names[name], value.rstrip()))

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        if self.head is not None or parser is None:
            return
        status = parser.get_status_code()
        if status < 200 and status != 101:
            return
        if len(headers) > self._limits.header_count or (self._is_suspect and self._is_large()):
            raise self._too_large()
        head = ResponseHead(status, self._reason, parser.get_http_version(), headers)
        coding = head.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            raise BadResponse(f"{self.origin}: unknown transfer coding", got=True)
        if status == 101 and not parser.should_upgrade():
            raise BadResponse(f"{self.origin}: switches to no protocol", got=True)
        self._keep_alive = parser.should_keep_alive()
        self._needs_eof = coding is None and head.get(b"content-length") is None
        self.head = head
        self.complete = self._is_head
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)  # an answer before the end of the upload: stop sending

    def _is_large(self) -> bool:
        return (
            self._head_size + sum([len(name) + len(value) for name, value in self._headers]) > self._limits.header_bytes
        )

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            self._dirty = True
            return
        self._body_begun = True
        self._parts.append(piece)

    def on_message_complete(self) -> None:
        if self.head is not None:
            self.complete = True


_names: Memo[bytes] = Memo(bytes.lower)

"""One connection to an upstream: a request out, its answer in, with every way it can fail told apart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.http.deadline import NEVER
from gateway.http.faults import (
    BadResponse,
    FirstByteTimeout,
    HeaderTooLarge,
    IdleTimeout,
    ResetBeforeResponse,
    ResponseTooLarge,
    TotalTimeout,
    Truncated,
    UpstreamError,
)
from gateway.http.head import Headers, ResponseHead
from gateway.http.memo import Memo
from gateway.http.origin import Origin

HIGH_WATER = 262_144  # bytes of an unread body above which reading from the upstream pauses


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


class UpstreamConnection(asyncio.Protocol):
    """A keep-alive connection; one exchange at a time: `send`, `response`, then `body`, `collect` or `pipe`.

    `first_byte_timeout` (from the end of the request to the first body byte) and `idle_timeout` (between body bytes)
    are seconds, `total_deadline` is loop time. While reading is paused by `pause()` only the last one runs.
    `complete`: the whole answer is here. `reused`: it served an earlier exchange. Every failure is an UpstreamError.
    """

    __slots__ = (
        "_body_begun", "_dirty", "_error", "_got", "_head_size", "_headers", "_is_head", "_keep_alive", "_limits",
        "_loop", "_needs_eof", "_on_lost", "_parser", "_parts", "_paused", "_reason", "_sink", "_transport", "_unread",
        "_waiter", "_writable", "complete", "deadline", "first_byte_timeout", "head", "idle_timeout", "leftover",
        "origin", "requests", "reused", "total_deadline",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        limits: ClientLimits,
        on_lost: Callable[["UpstreamConnection"], None],
    ) -> None:
        self.origin = origin
        self.first_byte_timeout = self.idle_timeout = self.deadline = self.total_deadline = NEVER
        self.requests = 0
        self.reused = False
        self.complete = True
        self.head: ResponseHead | None = None
        self.leftover = b""
        self._loop = loop
        self._limits = limits
        self._on_lost = on_lost
        self._parser: HttpResponseParser | None = None
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._reason = b""
        self._unread = self._head_size = 0
        self._got = self._body_begun = self._paused = self._dirty = self._is_head = False
        self._keep_alive = True
        self._needs_eof = False

    @property
    def is_reusable(self) -> bool:
        """Its exchange is complete and nothing speaks against another one."""
        return self.complete and self._keep_alive and not self._dirty

    @property
    def transport(self) -> asyncio.Transport:
        return self._transport

    # --- the request

    def send(self, data: bytes) -> None:
        """Head and body of a request, or its head with `send_chunks` to follow. Raises ResetBeforeResponse."""
        if self._dirty:
            raise ResetBeforeResponse(f"{self.origin}: the connection is closed", sent=False)
        if self._parser is None or self._is_head:
            self._parser = HttpResponseParser(self)
        self._is_head = data.startswith(b"HEAD ")
        self.complete = self._got = self._body_begun = False
        self.head = None
        self._head_size = 0
        self.reused = self.requests > 0
        self.requests += 1
        self._transport.write(data)
        self.deadline = self._soon(self.first_byte_timeout)

    async def send_chunks(self, chunks: AsyncIterator[bytes], framed: bool = True) -> None:
        """The body as it comes, at the upstream's pace; `framed` for Transfer-Encoding: chunked.

        Returns early if the upstream answers before the end; then the connection will not be used again. The clock of
        the first byte starts at the end. Raises ResetBeforeResponse or IdleTimeout.
        """
        self.deadline = self.total_deadline
        async for chunk in chunks:
            if self._writable is not None:
                self.deadline = self._soon(self.idle_timeout)
                await self._writable
                self.deadline = self.total_deadline
            if self._error is not None:
                raise self._error
            if self.head is not None:
                self._keep_alive = False
                return
            if chunk:
                self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if framed else chunk)
        if framed and self._error is None:
            self._transport.write(b"0\r\n\r\n")
        if not self.complete:
            self.deadline = self._soon(self.first_byte_timeout)

    # --- the answer

    async def response(self) -> ResponseHead:
        """The final head (or a 101), once the segment it came in is parsed: a short answer is `complete` by then."""
        while self.head is None:
            await self._wait()
        return self.head

    def body(self) -> bytes:
        """What has arrived of the body and was not taken yet."""
        parts = self._parts
        if not parts:
            return b""
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        if self._unread:
            self._release()
        return taken

    async def pipe(self, sink: Callable[[bytes], None]) -> None:
        """Hand the rest of the body to `sink` as it arrives, without a task switch; return at its end.

        An exception of the sink breaks the connection and comes out here; what arrived before a failure is handed on
        first.
        """
        if self._parts:
            sink(self.body())
        self._sink = sink
        try:
            while not self.complete:
                await self._wait()
        finally:
            self._sink = None

    async def collect(self, limit: int) -> bytes:
        """The rest of the body. Raises ResponseTooLarge beyond `limit` bytes."""
        parts: list[bytes] = []
        size = 0

        def take(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > limit:
                raise ResponseTooLarge(f"{self.origin}: more than {limit} bytes", got=True)
            parts.append(piece)

        await self.pipe(take)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # --- pace

    def pause(self) -> None:
        """Read no more for now: whoever receives the body is slower than the upstream."""
        self._paused = True
        self._transport.pause_reading()
        self.deadline = self.total_deadline

    def resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()
        if not self.complete:
            self.deadline = self._soon(self.idle_timeout if self._body_begun else self.first_byte_timeout)

    def rest(self) -> None:
        """Lie idle, with nothing of the last exchange left."""
        self.head = None
        self.total_deadline = NEVER
        self.deadline = self._loop.time() + self._limits.idle_timeout
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        self._dirty = True
        self._transport.close()

    def abort(self) -> None:
        self._dirty = True
        self._transport.abort()

    # --- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.complete or self._parser is None:
            self.close()  # bytes that answer nothing: never use this connection again
            return
        self._got = True
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
        if self._needs_eof and self.head is not None and not self.complete and self._error is None:
            self.complete = True
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._dirty = True
        if not self.complete:
            text = f"{self.origin}: {exc or 'the connection was closed'}"
            kind = ResetBeforeResponse if self.head is None else Truncated
            self._fail(kind(text, got=self._got))
        self._parser = None
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def expire(self) -> None:
        now = self._loop.time()
        if self.complete:
            self.close()
            self.deadline = NEVER
        elif self.total_deadline <= now:
            self._fail(TotalTimeout(f"{self.origin}: the time for the whole exchange is over", got=self._got))
        elif self._body_begun or self._writable is not None:
            self._fail(IdleTimeout(f"{self.origin}: nothing moved for {self.idle_timeout} s", got=self._got))
        else:
            self._fail(FirstByteTimeout(f"{self.origin}: no answer in {self.first_byte_timeout} s", got=self._got))

    def _soon(self, seconds: float) -> float:
        when = self._loop.time() + seconds
        return when if when < self.total_deadline else self.total_deadline

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

    def _release(self) -> None:
        if self._unread > HIGH_WATER and not self._paused:
            self._transport.resume_reading()
        self._unread = 0

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
        self.resume_writing()
        self._wake()

    def _refuse(self, error: HttpParserError) -> None:
        self._dirty = True
        if self.complete:
            return  # bytes behind the end of the answer
        cause = error.__context__
        if isinstance(cause, UpstreamError):
            self._fail(cause)
        else:
            self._fail(BadResponse(f"{self.origin}: {error}", got=True))

    def _count_head(self, received: int) -> None:
        self._head_size += received
        if self._head_size > self._limits.header_bytes:
            self._fail(self._too_large())

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
        if self.complete or parser is None:
            return
        status = parser.get_status_code()
        if status < 200 and status != 101:
            return
        size = self._head_size + sum([len(name) + len(value) + 4 for name, value in headers])
        if len(headers) > self._limits.header_count or size > self._limits.header_bytes:
            raise self._too_large()
        head = ResponseHead(status, self._reason, parser.get_http_version(), headers)
        coding = head.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            raise BadResponse(f"{self.origin}: unknown transfer coding", got=True)
        self._keep_alive = parser.should_keep_alive()
        self._needs_eof = coding is None and head.get(b"content-length") is None
        self.head = head
        self.complete = self._is_head

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

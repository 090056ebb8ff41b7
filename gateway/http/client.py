"""One connection to an upstream: a request out, its answer in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

from httptools import HttpResponseParser

from gateway.http.answer import HIGH_WATER, AnswerReader, ClientLimits
from gateway.http.deadline import NEVER
from gateway.http.faults import ResetBeforeResponse, ResponseTooLarge
from gateway.http.head import ResponseHead
from gateway.http.origin import Origin

__all__ = ["ClientLimits", "Origin", "ResponseHead", "UpstreamConnection"]


class UpstreamConnection(AnswerReader):
    """A keep-alive connection; one exchange at a time: `send`, `response`, then `body`, `collect` or `pipe`.

    `first_byte_timeout` (from the end of the request to the first body byte) and `idle_timeout` (between body bytes)
    are seconds, `total_deadline` is loop time. While reading is paused by `pause()` only the last one runs.
    `complete`: the whole answer is here. `reused`: it served an earlier exchange. Every failure is an UpstreamError.
    """

    __slots__ = ("_is_sending", "_on_lost", "requests", "reused")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        limits: ClientLimits,
        on_lost: Callable[["UpstreamConnection"], None],
    ) -> None:
        super().__init__(loop, origin, limits)
        self.requests = 0
        self.reused = False
        self._on_lost = on_lost
        self._is_sending = False  # a body is not wholly sent: what comes next would be read as its rest

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_lost(self)

    @property
    def is_reusable(self) -> bool:
        """Its exchange is complete and nothing speaks against another one."""
        return self.complete and self._keep_alive and not self._dirty and not self._is_sending

    @property
    def transport(self) -> asyncio.Transport:
        return self._transport

    # --- the request

    def send(self, data: bytes) -> None:
        """Head and body of a request, or its head with `send_chunks` to follow. Raises ResetBeforeResponse."""
        if self._dirty:
            raise ResetBeforeResponse(f"{self.origin}: the connection is closed", sent=False)
        if self._parser is None or self._is_head:  # llhttp still waits for the body that HEAD does not have
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
        self._is_sending = True
        async for chunk in chunks:
            await self._catch_up()
            if self.head is not None:
                return
            if chunk:
                self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if framed else chunk)
        await self._catch_up()
        if framed:
            self._transport.write(b"0\r\n\r\n")
        self._is_sending = False
        if self.head is None:
            self.deadline = self._soon(self.first_byte_timeout)

    async def _catch_up(self) -> None:
        """Until the upstream has taken what was sent, or answered before that."""
        if self._writable is not None:
            self.deadline = self._soon(self.idle_timeout)
            await self._writable
            self.deadline = self.total_deadline
        if self._error is not None:
            raise self._error

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # --- the answer

    async def response(self) -> ResponseHead:
        """The final head (or a 101), once the segment it came in is parsed: a short answer is `complete` by then."""
        while self.head is None:
            await self._arrival()
        return self.head

    def body(self) -> bytes:
        """What has arrived of the body and was not taken yet."""
        parts = self._parts
        if not parts:
            return b""
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        if self._unread > HIGH_WATER and not self._paused:
            self._transport.resume_reading()
        self._unread = 0
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
            while not self.complete or self._error is not None:
                await self._arrival()
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

    def _arrival(self) -> asyncio.Future[None]:
        """What to wait for: the next step of the answer. Raises its failure."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        return self._waiter

    # --- pace

    def pause(self) -> None:
        """Read no more for now: whoever receives the body is slower than the upstream."""
        self._paused = True
        self._transport.pause_reading()
        if not self.complete:
            self.deadline = self.total_deadline

    def resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()
        if not self.complete:
            self.deadline = self._soon(self.idle_timeout if self._body_begun else self.first_byte_timeout)

    def waited(self) -> float:
        """Seconds without a byte of an answer that has been asked for and would be read; 0 for any other."""
        if self.complete or self._paused or self._is_sending or self._parts or self.deadline >= self.total_deadline:
            return 0.0
        patience = self.idle_timeout if self._body_begun else self.first_byte_timeout
        return max(0.0, patience - (self.deadline - self._loop.time()))

    # --- between exchanges

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

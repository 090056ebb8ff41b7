"""One client connection: its requests are handled one after another by one task, and its deadlines are kept here."""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from gateway.http.deadline import NEVER
from gateway.http.faults import BadRequest, ClientGone, ClientStalled
from gateway.http.intake import Intake
from gateway.http.request import Request
from gateway.tasks import spawn

if TYPE_CHECKING:
    from gateway.http.server import HttpServer

_log = logging.getLogger("tollkeeper.http")

_LINGER = 1.5  # seconds a closing connection is read on, so that the client sees the answer and not a reset
_LINGER_BYTES = 1_048_576
_KEEP_BELOW = 65_536  # bytes of an unread body that are still awaited after the answer
_SAMPLE = 0.25  # seconds between looks at a client that does not read
_RESET = struct.pack("ii", 1, 0)


class Connection(Intake):
    """The protocol of one client. `peer` is its IP address, empty for a unix socket; `gone`: it has left (a half-close
    counts); `on_abort` is set by a tunnel that wants to say goodbye when the server breaks it.
    """

    __slots__ = (
        "_body_start", "_current", "_drainer", "_is_lingering", "_is_released", "_stall_since", "_stall_size", "_task",
        "body_deadline", "deadline", "gone", "loop", "on_abort", "peer", "scheme", "server", "write_paused",
    )  # fmt: skip

    def __init__(self, server: "HttpServer") -> None:
        super().__init__(server.limits)
        self.server = server
        self.loop = server.loop
        self.peer = ""
        self.scheme = "http"
        self.gone = False
        self.write_paused = False
        self.deadline = self.body_deadline = NEVER
        self.on_abort: Callable[[], None] | None = None
        self._current: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._is_lingering = False
        self._is_released = False
        self._body_start = (0.0, 0)
        self._stall_since = 0.0
        self._stall_size = 0

    # --- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.peer = address[0] if isinstance(address, tuple) else ""
        if transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        self.deadline = self.loop.time() + self.limits.header_timeout
        self.server.sweeper.add(self)
        refusal = self.server.admit(self)
        if refusal is None:
            self._task = spawn(self._serve(), "http connection")
        elif self.server.is_overrun:
            self.transport.abort()
        else:
            self.refuse(BadRequest(1902, refusal))

    def eof_received(self) -> None:
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self.server.sweeper.discard(self)
        self.server.forget(self)
        del self._parser  # it holds our bound methods: without this the garbage collector has to find the cycle

    def _leave(self) -> None:
        if self.gone:
            return
        self.gone = True
        self.body_deadline = NEVER
        self.deadline = self.loop.time() + self.limits.write_timeout
        if self._task is not None and not self._is_released:
            self._task.cancel()

    def pause_writing(self) -> None:
        self.write_paused = True
        now = self.loop.time()
        self._stall_since, self._stall_size = now, self.transport.get_write_buffer_size()
        self.deadline = min(self.deadline, now + _SAMPLE)
        if self._current is not None and self._current.on_pause is not None:
            self._current.on_pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._drainer is not None and not self._drainer.done():
            self._drainer.set_result(None)
        if self._current is not None and self._current.on_resume is not None:
            self._current.on_resume()

    # --- requests, one after another

    async def _serve(self) -> None:
        queue = self._queue
        while True:
            if not queue:
                self._rest()
                self._waiter = self.loop.create_future()
                await self._waiter
            item = queue.popleft()
            if isinstance(item, BadRequest):
                self.refuse(item)
                return
            self._current = item
            self.deadline = NEVER
            await self._handle(item)
            self._current = None
            if self.write_paused:
                await self.drained()
            if not self._finish(item):
                return

    async def _handle(self, request: Request) -> None:
        try:
            await self.server.handler(request)
        except Exception as error:
            if not (self.gone and isinstance(error, ClientGone)):
                _log.exception("the handler failed: %s %s", request.head.method, request.head.path)
        if request.ended or self.gone:
            return
        if request.started:
            request.abort()
        else:
            self.refuse(BadRequest(1900, "The gateway failed."))

    def _finish(self, request: Request) -> bool:
        """Whether another request may follow on this connection."""
        request.is_over = True
        request.on_pause = request.on_resume = None
        if self.gone or self._is_lingering or self._is_released or self.transport.is_closing():
            return False
        if not request.keep_alive or (self._is_deaf and not self._queue):
            if request.complete and not self._queue:
                self.transport.close()
                self.deadline = self.loop.time() + self.limits.write_timeout
            else:
                self.linger()
            return False
        if not request.complete:
            self._discarded = request.drop()
        if self._read_paused and len(self._queue) < self.limits.pipeline:
            self._resume_reading()
        return True

    def may_persist(self, request: Request) -> bool:
        """Whether the answer about to be written may leave the connection open."""
        if not request.keep_alive or self.server.draining:
            return False
        if request.complete:
            return True
        missing = (request.head.content_length or 0) - request.arrived
        return missing <= _KEEP_BELOW and not self._is_deaf and not request.is_uninvited

    def _rest(self) -> None:
        limits = self.limits
        if self._arriving is not None:
            wait = limits.body_timeout
        else:
            wait = limits.header_timeout if self._in_head else limits.keep_alive
        self.deadline = self.loop.time() + wait

    # --- what a request asks of its connection

    def send(self, data: bytes) -> None:
        if self.gone:
            raise ClientGone
        self.transport.write(data)

    async def drained(self) -> None:
        """Until the client reads on. Raises ClientStalled."""
        self._drainer = self.loop.create_future()
        try:
            await self._drainer
        finally:
            self._drainer = None

    def await_body(self) -> None:
        if self._read_paused:
            self._resume_reading()
        now = self.loop.time()
        self._body_start = (now, self._arriving.arrived if self._arriving is not None else 0)
        self.body_deadline = now + self.limits.body_timeout
        self.deadline = min(self.deadline, self.body_deadline)

    def release(self) -> tuple[asyncio.Transport, bytes]:
        self._is_released = True
        self.deadline = NEVER
        self._resume_reading()
        leftover, self.leftover = self.leftover or b"", b""
        return self.transport, leftover

    def break_off(self, is_framed: bool) -> None:
        """Close in the middle of an answer. One that only the end of the connection delimits needs a reset."""
        if not is_framed:
            raw = self.transport.get_extra_info("socket")
            if raw is not None and raw.family != socket.AF_UNIX:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._is_deaf = True
        self.transport.close()
        self.deadline = self.loop.time() + self.limits.write_timeout

    # --- ends

    def refuse(self, fault: BadRequest) -> None:
        """Say what is wrong and close."""
        self.transport.write(self.server.on_refusal(self, fault.number, fault.message))
        self.linger()

    def linger(self) -> None:
        self._is_deaf = self._is_lingering = True
        self._discarded = 0
        self.deadline = self.loop.time() + _LINGER
        self._resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def surplus(self, data: bytes) -> None:
        self._discarded += len(data)
        if self.leftover is not None:
            self.leftover += data
        if self._discarded > _LINGER_BYTES:
            self.abort()

    def abort(self) -> None:
        if self.on_abort is not None:
            self.on_abort()
        else:
            self.transport.abort()

    def close_if_idle(self) -> None:
        if self._current is None and not self._in_head and not self._queue:
            self.transport.close()

    # --- deadlines

    def head_begun(self) -> None:
        if self._current is None:
            self.deadline = min(self.deadline, self.loop.time() + self.limits.header_timeout)

    def body_progressed(self) -> None:
        now, limits = self.loop.time(), self.limits
        self.body_deadline = now + limits.body_timeout
        if limits.body_rate_min and self._arriving is not None:
            start, before = self._body_start
            earned = (self._arriving.arrived - before) / limits.body_rate_min
            self.body_deadline = min(self.body_deadline, start + limits.body_timeout + earned)

    def expire(self) -> None:
        now = self.loop.time()
        self.deadline = NEVER
        if self._is_lingering or self.transport.is_closing():
            self.transport.abort()
        elif self.write_paused and self._is_stalled(now):
            self._cut_off(now)
        elif self.write_paused:
            self.deadline = now + _SAMPLE
        elif self._current is None:
            self._end_idle()
        if self._current is not None and self.body_deadline <= now:
            self._current.time_out()
        self.deadline = min(self.deadline, self.body_deadline)

    def _is_stalled(self, now: float) -> bool:
        size = self.transport.get_write_buffer_size()
        if size != self._stall_size:
            self._stall_since, self._stall_size = now, size
        return now - self._stall_since >= self.limits.write_timeout

    def _cut_off(self, now: float) -> None:
        """The client does not read: tell the handler if it waits for that, else break the connection under it."""
        self._stall_since = now
        self.deadline = now + _SAMPLE
        if self._current is not None:
            self._current.stalled = True
        if self._current is not None and self._drainer is not None and not self._drainer.done():
            self._drainer.set_exception(ClientStalled())
        else:
            self.transport.abort()

    def _end_idle(self) -> None:
        if self._in_head:
            self.refuse(BadRequest(1803, "The head of the request did not arrive in time."))
        else:
            self.transport.close()
            self.deadline = self.loop.time() + self.limits.write_timeout

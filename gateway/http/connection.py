"""One client connection: its requests are handled one after another by one task, and its deadlines are kept here."""

import asyncio
import logging
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


class Connection(Intake):
    """The protocol of one client. `peer` is its IP address, as a PROXY header tells it where there is one; it is empty
    for a unix socket. `on_abort` is set by a tunnel that wants to say goodbye when the server breaks it.
    """

    __slots__ = (
        "_body_start", "_is_lingering", "_is_released", "_is_told", "_task", "body_deadline", "on_abort", "peer",
        "server",
    )  # fmt: skip

    def __init__(self, server: "HttpServer", peer: str | None = None) -> None:
        super().__init__(server.loop, server.limits)
        self.server = server
        self.peer = peer or ""
        self._is_told = peer is not None
        self.body_deadline = NEVER
        self.on_abort: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_lingering = False
        self._is_released = False
        self._body_start = (0.0, 0)

    # --- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple) and not self._is_told:
            self.peer = address[0].removeprefix("::ffff:")
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
        task, self._task = self._task, None  # its traceback holds us: a cycle otherwise
        if task is not None and not self._is_released:
            task.cancel()

    # --- requests, one after another

    async def _serve(self) -> None:
        queue = self._queue
        while True:
            if not queue:
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
            del item  # an idle connection keeps nothing of its last request
            self._rest()

    async def _handle(self, request: Request) -> None:
        try:
            await self.server.handler(request)
        except (ClientGone, ClientStalled):
            self.transport.abort()
        except Exception:
            _log.exception("the handler failed: %s %s", request.head.method, request.head.path)
        if request.ended or self.transport.is_closing():
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
                self.close()
            else:
                self.linger()
            return False
        if not request.complete:
            self._discarded = request.drop()
        if self._read_paused and len(self._queue) < self.limits.pipeline:
            self._resume_reading()
        return True

    def may_skip_rest(self, request: Request) -> bool:
        """Whether so little of the body is missing that it can be read and dropped after the answer."""
        missing = (request.head.content_length or 0) - request.arrived
        return missing <= _KEEP_BELOW and not request.is_broken and not request.is_uninvited

    def release(self) -> tuple[asyncio.Transport, bytes]:
        """Hand the transport to a tunnel. Its loss must still be told to this connection."""
        self._is_released = True
        self.deadline = NEVER
        leftover, self.leftover = self.leftover or b"", b""
        return self.transport, leftover

    # --- ends

    def refuse(self, fault: BadRequest) -> None:
        """Say what is wrong and close."""
        try:
            self.transport.write(self.server.on_refusal(self, fault.number, fault.message))
            self.linger()
        except Exception:
            _log.exception("a refusal could not be sent")
            self.transport.abort()

    def linger(self) -> None:
        """Take no more requests; read on for a moment, so that the client sees the answer and not a reset."""
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
            self.transport.abort()

    def abort(self) -> None:
        """Break the connection; a tunnel closes it itself."""
        if self.on_abort is not None:
            self.on_abort()
        else:
            self.transport.abort()

    def dismiss(self) -> None:
        """End a tunnel with a goodbye, and a connection that is not in use."""
        if self.on_abort is not None:
            self.on_abort()
        else:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        if self._current is None and not self._in_head and not self._queue and not self._is_lingering:
            self.close()

    # --- deadlines

    def _rest(self) -> None:
        limits = self.limits
        if self._arriving is not None:
            wait = limits.body_timeout
        else:
            wait = limits.header_timeout if self._in_head else limits.keep_alive
        self.deadline = self.loop.time() + wait

    def head_begun(self) -> None:
        if self._current is None:
            self.deadline = min(self.deadline, self.loop.time() + self.limits.header_timeout)

    def await_body(self) -> None:
        """A reader waits: read on, and start the clock."""
        if self._read_paused:
            self._resume_reading()
        now = self.loop.time()
        self._body_start = (now, self._arriving.arrived if self._arriving is not None else 0)
        self.body_deadline = now + self.limits.body_timeout
        self.deadline = min(self.deadline, self.body_deadline)

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
        elif self.write_paused:
            self.watch_stall(now)
        elif self._current is None:
            self._end_idle()
        if self._current is not None and self.body_deadline <= now:
            self._current.time_out()
            self.body_deadline = NEVER
        self.deadline = min(self.deadline, self.body_deadline)

    def _end_idle(self) -> None:
        if self._in_head:
            self.refuse(BadRequest(1803, "The head of the request did not arrive in time."))
        else:
            self.close()

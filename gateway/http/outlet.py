"""The writing half of a client connection: bytes out, at the pace of a client who may stop reading."""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from gateway.http.deadline import NEVER
from gateway.http.faults import ClientGone, ClientStalled

if TYPE_CHECKING:
    from gateway.http.request import Request
    from gateway.http.server import ServerLimits

SAMPLE = 0.25  # seconds between looks at a client that does not read
_RESET = struct.pack("ii", 1, 0)


class Outlet(asyncio.Protocol):
    """Sends, waits for slow clients, and cuts off those that have read nothing for `write_timeout` seconds.

    `gone`: the client has left (a half-close counts). `write_paused`: the transport holds more than it should.
    """

    __slots__ = (
        "_current", "_drainer", "_stall_since", "_stall_size", "deadline", "gone", "limits", "loop", "scheme",
        "transport", "write_paused",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: "ServerLimits") -> None:
        self.loop = loop
        self.limits = limits
        self.scheme = "http"
        self.gone = False
        self.write_paused = False
        self.deadline = NEVER
        self._current: Request | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._stall_since = 0.0
        self._stall_size = 0

    def send(self, data: bytes) -> None:
        """Raises ClientGone."""
        if self.gone:
            raise ClientGone
        self.transport.write(data)

    async def drained(self) -> None:
        """Until the client has caught up. Raises ClientStalled."""
        self._drainer = self.loop.create_future()
        try:
            await self._drainer
        finally:
            self._drainer = None

    def pause_writing(self) -> None:
        self.write_paused = True
        now = self.loop.time()
        self._stall_since, self._stall_size = now, self.transport.get_write_buffer_size()
        self.deadline = min(self.deadline, now + SAMPLE)
        if self._current is not None and self._current.on_pause is not None:
            self._current.on_pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._drainer is not None and not self._drainer.done():
            self._drainer.set_result(None)
        if self._current is not None and self._current.on_resume is not None:
            self._current.on_resume()

    def watch_stall(self, now: float) -> None:
        """Look whether a paused client reads; one that does not is told to the handler that waits in `drained`, and
        otherwise cut off under it.
        """
        self.deadline = now + SAMPLE
        size = self.transport.get_write_buffer_size()
        if size != self._stall_size:
            self._stall_since, self._stall_size = now, size
        if now - self._stall_since < self.limits.write_timeout:
            return
        self._stall_since = now
        if self._current is not None:
            self._current.stalled = True
        if self._current is not None and self._drainer is not None and not self._drainer.done():
            self._drainer.set_exception(ClientStalled())
        else:
            self.transport.abort()

    def close(self) -> None:
        """Close once everything is written, and in `write_timeout` at the latest."""
        self.transport.close()
        self.deadline = self.loop.time() + self.limits.write_timeout

    def break_off(self, is_framed: bool) -> None:
        """Close in the middle of an answer. One that only the end of the connection delimits needs a reset."""
        if is_framed:
            self.close()
            return
        raw = self.transport.get_extra_info("socket")
        if self.scheme == "http" and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()
        else:
            self.transport.abort()

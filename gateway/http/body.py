"""The body of a request, as it arrives and as it is asked for."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from gateway.http.deadline import NEVER
from gateway.http.faults import BadRequest, BodyTimeout, BodyTooLarge

if TYPE_CHECKING:
    from gateway.http.connection import Connection
    from gateway.http.head import RequestHead

HIGH_WATER = 262_144  # bytes of an unread body above which reading from the client pauses


class RequestBody:
    """`complete`: all of it is here; `arrived` and `unread` count bytes, the latter those not asked for yet."""

    __slots__ = (
        "_fault", "_is_invited", "_parts", "_waiter", "_wanted", "arrived", "complete", "connection", "head", "unread",
    )  # fmt: skip

    def __init__(self, head: "RequestHead", connection: "Connection") -> None:
        self.head = head
        self.connection = connection
        self.complete = False
        self.arrived = 0
        self.unread = 0
        self._parts: list[bytes] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._fault: BadRequest | None = None
        self._is_invited = False

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge beyond `limit` bytes, BodyTimeout, or BadRequest for broken framing."""
        if (self.head.content_length or 0) > limit:
            raise BodyTooLarge(limit)
        while not self.complete and self.unread <= limit:
            await self._receive(limit + 1)
        if self.unread > limit:
            raise BodyTooLarge(limit)
        return self._take()

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """The body as it arrives, in pieces. Raises as `read` does; the client is held back while nobody asks."""
        if (self.head.content_length or 0) > limit:
            raise BodyTooLarge(limit)
        total = 0
        while True:
            if not self.unread and not self.complete:
                await self._receive(1)
            if not self.unread:
                return
            total += self.unread
            if total > limit:
                raise BodyTooLarge(limit)
            yield self._take()

    async def _receive(self, wanted: int) -> None:
        """Wait until `wanted` bytes are buffered or the body has ended."""
        if self._fault is not None:
            raise self._fault
        if self.is_uninvited:
            self._is_invited = True
            self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._wanted = wanted
        self._waiter = self.connection.loop.create_future()
        self.connection.await_body()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self.connection.body_deadline = NEVER

    def _take(self) -> bytes:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self.unread = 0
        return body

    # --- called by the connection

    @property
    def is_waited_for(self) -> bool:
        """Somebody waits, and what is here is not enough."""
        return self._waiter is not None and self.unread < self._wanted

    @property
    def is_uninvited(self) -> bool:
        """The client waits for a 100 before it sends the body (RFC 9110, 10.1.1), and has not got one."""
        return self.head.expect_continue and not self._is_invited and not self.arrived

    @property
    def is_broken(self) -> bool:
        """Its end will not come, or not in time."""
        return self._fault is not None

    def feed(self, piece: bytes) -> None:
        self._parts.append(piece)
        self.unread += len(piece)
        self.arrived += len(piece)

    def wake(self) -> None:
        """Let a waiting reader go on if it has what it asked for."""
        waiter = self._waiter
        if waiter is not None and not waiter.done() and (self.complete or self.unread >= self._wanted):
            waiter.set_result(None)

    def break_body(self, fault: BadRequest) -> None:
        """No more of the body will come: the reader, now or later, gets `fault`."""
        self._fault = fault
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(fault)

    def time_out(self) -> None:
        self.break_body(BodyTimeout())

    def drop(self) -> int:
        """Forget what was not read, and tell how much it was."""
        dropped, self.unread = self.unread, 0
        self._parts.clear()
        return dropped

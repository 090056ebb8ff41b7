"""One connection: commands leave as they are given and are answered in order.

A command that nobody waits for any more still takes its own answer off the line when that comes, so no answer is ever
taken for another command's (redis-py's CVE-2023-28858 was that mistake).
"""

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis

_log = logging.getLogger("tollkeeper")
_NOTHING = object()  # not False, as an answer may be that
_ABORT = struct.pack("ii", 1, 0)

Argument = str | int | bytes
pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)
"""A command and its arguments as they go on the line."""


class Receiver(Protocol):
    """Hears of one command: `reply` may be a hiredis.ReplyError, a TimeoutError, or a ConnectionError if all is lost.

    Called once, or twice where the deadline passes: then the second time, with what comes after all, `is_late`.
    """

    def __call__(self, reply: Any, is_late: bool) -> None: ...


class Connection(asyncio.Protocol):
    """`on_lost` is called once, after every command has heard of it."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._outgoing: list[bytes] = []
        self._waiting: deque[tuple[float, Receiver]] = deque()  # with their deadlines
        self._late: deque[tuple[float, Receiver]] = deque()  # with when they were given up; all older than the waiting
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    def send(self, command: bytes, receiver: Receiver, patience: float) -> None:
        """Send a packed command; `receiver` hears within `patience` seconds, and never before this returns.

        Deadlines are kept in order: one that is shorter than an earlier command's waits for that.
        """
        if self.closed:
            self._loop.call_soon(receiver, ConnectionResetError("the connection to Redis is lost"), False)
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(command)
        self._waiting.append((self._loop.time() + patience, receiver))
        if self._timer is None:
            self._timer = self._loop.call_later(patience, self._expire)

    def overdue(self) -> float:
        """Seconds since the oldest command that is not answered was given up; 0 where none was."""
        return self._loop.time() - self._late[0][0] if self._late else 0.0

    def give_up(self) -> None:
        """Let the deadline of all commands be now."""
        self._waiting = deque([(0.0, receiver) for _, receiver in self._waiting])
        self._expire()

    def close(self) -> None:
        """Flush and close."""
        if self._transport is not None and not self.closed:
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Give it up; what Redis has not read it will not read, which a mere close would let it do."""
        if self._transport is None or self.closed:
            return
        raw = self._transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._transport.abort()
        self._lose()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while not self.closed:
            commands = self._late or self._waiting
            try:
                reply = self._reader.gets()
                if reply is _NOTHING:
                    return
                _, receiver = commands.popleft()
            except (hiredis.ProtocolError, IndexError):  # not what was asked for: nothing on this line can be trusted
                self.abort()
                return
            _tell(receiver, reply, commands is self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()

    def _flush(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _expire(self) -> None:
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            _, receiver = self._waiting.popleft()
            self._late.append((now, receiver))
            _tell(receiver, TimeoutError("Redis does not answer"), False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._expire)

    def _lose(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        error = ConnectionResetError("the connection to Redis is lost")
        while self._late:
            _tell(self._late.popleft()[1], error, True)
        while self._waiting:
            _tell(self._waiting.popleft()[1], error, False)
        self._on_lost()


def _tell(receiver: Receiver, reply: Any, is_late: bool) -> None:
    """A mistake of one receiver is not the others'."""
    try:
        receiver(reply, is_late)
    except Exception:
        _log.exception("what an answer of Redis led to failed")


def expect() -> "tuple[asyncio.Future[Any], Receiver]":
    """A future, and the receiver that fulfils it."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def receive(reply: Any, is_late: bool) -> None:
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    return future, receive

"""One server as somebody sees it who will not wait for it: its connection, its deadline, its breaker.

The breaker opens when the connection is lost or after three failures in a row; late is failed. While it is open a
command costs nothing, and now and then a probe looks whether Redis takes writes again in time.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis

from gateway.redis.connection import Connection, Receiver, expect, pack
from gateway.tasks import spawn

FAILURES = 3  # in a row, until the breaker opens
_PAUSE = (0.3, 0.7)  # seconds between two probes
_CONNECT = 1.0  # seconds
_OVERDUE = 5.0  # seconds after which a connection that does not answer is given up
_QUIET = 10.0  # seconds between two log lines about one node
_PROBE = "redis.call('SET', KEYS[1], 1, 'PX', 1000) return 1"
_ELSEWHERE = ("MOVED", "ASK")
_HARMLESS = (*_ELSEWHERE, "NOSCRIPT", "TRYAGAIN", "NOPERM", "ERR unknown command", "ERR This instance has cluster")

_log = logging.getLogger("tollkeeper")

Connect = Callable[[Connection], Awaitable[tuple[bytes, ...]]]


class Down(ConnectionError):
    """Redis cannot be asked now."""


class Node:
    """`connect` connects a protocol and returns the commands to begin with (AUTH and SELECT).

    `on_change` hears of the breaker: on True it may send what must come before everything else.
    """

    def __init__(self, name: str, connect: Connect, on_change: Callable[["Node", bool], None], patience: float) -> None:
        self.name = name
        self.is_up = False
        self.probe_key = "tk:{probe}"
        self.patience = patience
        self._connect = connect
        self._on_change = on_change
        self._connection: Connection | None = None
        self._failures = 0
        self._complained = -_QUIET
        self._loop = asyncio.get_running_loop()
        self._recovered = asyncio.Event()
        self._recovering: asyncio.Task[None] | None = None
        self._closed = False

    def send(self, command: bytes, receiver: Receiver, patience: float | None = None) -> None:
        """Send a packed command. `receiver` hears of it as `Connection` has it, or at once of a Down."""
        if not self.is_up or self._connection is None:
            self._loop.call_soon(receiver, Down(f"Redis at {self.name} is down"), False)
            return
        self._connection.send(command, self._watch(receiver), self.patience if patience is None else patience)

    def start(self) -> None:
        """Begin to connect."""
        self._recover()

    async def wait_up(self, within: float) -> None:
        """Until it is up, or for `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._recovered.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """End it, after what was sent."""
        self._closed = True
        self.is_up = False
        if self._recovering is not None:
            self._recovering.cancel()
        if self._connection is not None:
            self._connection.close()

    def trip(self, reason: str, reconnect: bool = False) -> None:
        """Open the breaker. `reconnect`: this connection leads to a server that is of no use any more."""
        if reconnect and self._connection is not None:
            connection, self._connection = self._connection, None
            self._loop.call_soon(connection.abort)
        if self.is_up:
            self.is_up = False
            self._recovered.clear()
            self._complain(reason)
            if self._connection is not None:
                self._loop.call_soon(self._connection.give_up)
            self._on_change(self, False)
        self._recover()

    def _watch(self, receiver: Receiver) -> Receiver:
        def receive(reply: Any, is_late: bool) -> None:
            if isinstance(reply, Exception):
                self._judge(reply, is_late)
            elif not is_late:
                self._failures = 0
            receiver(reply, is_late)

        return receive

    def _judge(self, error: Exception, is_late: bool) -> None:
        if isinstance(error, hiredis.ReplyError) and str(error).startswith(_HARMLESS):
            return
        if "READONLY" in str(error):  # it was the master once; a script says so in the middle of its error
            self.trip(str(error), reconnect=True)
        elif not is_late:
            self._failures += 1
            if self._failures >= FAILURES:
                self.trip(str(error))

    def _lose(self) -> None:
        if not self._closed:
            self._connection = None
            self.trip("the connection is lost")

    def _recover(self) -> None:
        if not self._closed and (self._recovering is None or self._recovering.done()):
            self._recovering = spawn(self._retry(), f"redis {self.name}")

    async def _retry(self) -> None:
        while not self._closed:
            try:
                async with asyncio.timeout(_CONNECT):
                    await self._probe()
            except (OSError, TimeoutError, hiredis.ReplyError) as error:
                self._complain(str(error) or type(error).__name__)
            else:
                self._failures = 0
                self.is_up = True
                self._complained = -_QUIET
                self._recovered.set()
                self._on_change(self, True)
                return
            await asyncio.sleep(random.uniform(*_PAUSE))

    async def _probe(self) -> None:
        """Connect if need be, and see a write done in time."""
        connection = self._connection
        if connection is not None and connection.overdue() > _OVERDUE:
            connection.abort()
        if connection is None or connection.closed:
            connection = Connection(self._lose)
            greetings = await self._connect(connection)
            self._connection = connection
        else:
            greetings = ()
        probe = pack(("EVAL", _PROBE, 1, self.probe_key))
        try:
            await asyncio.gather(*[ask(connection, command, self.patience) for command in (*greetings, probe)])
        except hiredis.ReplyError as error:
            if not str(error).startswith(_ELSEWHERE):  # a node of a cluster that is not known yet
                connection.abort()  # it may lead to a server that is of no use any more
                raise

    def _complain(self, reason: str) -> None:
        now = self._loop.time()
        if now - self._complained >= _QUIET:
            self._complained = now
            _log.warning("Redis at %s cannot be used: %s", self.name, reason)


async def ask(connection: Connection, command: bytes, patience: float) -> Any:
    """The answer to one command. Raises what the receiver of it hears as an error."""
    future, receiver = expect()
    connection.send(command, receiver, patience)
    return await future

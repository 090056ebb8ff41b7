"""The server: who may connect, how long they may take, and an orderly end."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from gateway.http.connection import Connection
from gateway.http.deadline import Sweeper
from gateway.http.listener import Listener
from gateway.http.request import Request
from gateway.http.tls import TLS_FAREWELL

__all__ = ["Connection", "DateLine", "HttpServer", "Request", "ServerLimits"]

Handler = Callable[[Request], Coroutine[Any, Any, None]]
Refusal = Callable[[Connection, int, str], bytes]
_ACCEPTED = 0.02  # seconds until connections that were accepted before the listener closed are known
_TURNED_AWAY_AT_ONCE = 64  # connections over the cap that get an answer; more than these are dropped without one


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Sizes in bytes, times in seconds, rates in bytes per second; 0 connections per client means no such cap.

    `header_timeout` runs from the first byte of a head (from the accept for the first, TLS handshake apart);
    `body_timeout` is the longest silence inside a body; with `body_rate_min` a body must also arrive in
    `body_timeout` + size / rate.
    """

    header_bytes: int = 32_768
    header_count: int = 100
    connections: int = 10_000
    connections_per_client: int = 0
    header_timeout: float = 10.0
    keep_alive: float = 75.0
    body_timeout: float = 30.0
    body_rate_min: float = 0.0
    write_timeout: float = 30.0
    pipeline: int = 16


class DateLine:
    """The Date field of every answer (RFC 9110, 6.6.1), rendered once a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.line = b""
        self.deadline = 0.0
        self.expire()

    def expire(self) -> None:
        now = time.time_ns() / 1e9
        self.line = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
        self.deadline = self._loop.time() + 1.0 - now % 1.0


class HttpServer:
    """Accepts connections on any number of listeners and calls `handler` once per request.

    `on_refusal(connection, number, message)` renders what the server itself must say, as a whole response that carries
    `Connection: close`. The handler is cancelled when its client leaves; a client that half-closes has left.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        limits: ServerLimits,
        sweeper: Sweeper,
        on_refusal: Refusal,
    ) -> None:
        self.loop = loop
        self.handler = handler
        self.limits = limits
        self.sweeper = sweeper
        self.on_refusal = on_refusal
        self.draining = False
        self.date = DateLine(loop)
        self.connections: set[Connection] = set()
        self._per_client: dict[str, int] = {}
        self._listeners: list[Listener] = []
        self._idle = asyncio.Event()
        self._idle.set()
        sweeper.add(self.date)

    def __call__(self, peer: str | None = None) -> Connection:
        return Connection(self, peer)

    def listen(
        self, sock: socket.socket, tls: ssl.SSLContext | None = None, is_shared: bool = False, has_preface: bool = False
    ) -> None:
        """Accept on a bound socket: TCP, v4 or v6, or unix. The caller's descriptor stays open and its own.

        `has_preface`: every connection must begin with a PROXY header, whose client is then `peer`.
        """
        timeouts = (self.limits.header_timeout, TLS_FAREWELL)
        self._listeners.append(Listener(sock.dup(), self, tls, timeouts, is_shared, has_preface))

    def stop_listening(self) -> None:
        """Accept no more. The queue of the shared socket stays for its other holders."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def admit(self, connection: Connection) -> str | None:
        """Count a new connection; a text says why it is refused."""
        self.connections.add(connection)
        self._idle.clear()
        peer, limits = connection.peer, self.limits
        count = self._per_client.get(peer, 0) + 1
        self._per_client[peer] = count
        if len(self.connections) > limits.connections:
            return "The gateway has too many connections."
        if peer and 0 < limits.connections_per_client < count:
            return "This address has too many connections."
        return None

    @property
    def is_overrun(self) -> bool:
        """There are more refused connections than deserve an answer."""
        return len(self.connections) > self.limits.connections + _TURNED_AWAY_AT_ONCE

    def forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        count = self._per_client.pop(connection.peer, 1) - 1
        if count:
            self._per_client[connection.peer] = count
        if not self.connections:
            self._idle.set()

    async def drain(self, grace: float = 1.0) -> None:
        """Answer everything with `Connection: close`; after `grace` seconds close the connections that are idle.

        Returns at once when there are no connections.
        """
        self.draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.sleep(_ACCEPTED)
                await self._idle.wait()
        for connection in list(self.connections):
            connection.close_if_idle()

    async def wait_idle(self) -> None:
        """Until the last connection is gone."""
        await self._idle.wait()

    def dismiss(self) -> None:
        """Tunnels say goodbye, idle connections are closed; answers under way go on."""
        for connection in list(self.connections):
            connection.dismiss()

    def abort_all(self) -> None:
        """Break every connection; tunnels say goodbye first."""
        for connection in list(self.connections):
            connection.abort()

    def close(self) -> None:
        """Stop listening and break what is left."""
        self.stop_listening()
        self.abort_all()
        self.sweeper.discard(self.date)

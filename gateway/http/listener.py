"""Accepting on a socket that several processes share, so that each gets its part.

One connection is taken per turn of the event loop, and after a few of them others are left alone for a moment, in which
the other processes wake up. libuv's own way, to take all that wait at once, gives one process everything (measured:
32 connections landed 31 and 1).
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from gateway.http.proxy_protocol import receive_preface
from gateway.tasks import spawn

_PAUSE = 0.5  # seconds without accepting when the system has no descriptor or memory left
_BURST, _TURN = 4, 0.001  # connections taken in a row, and the seconds that are then the others'
_AWAITED = 1024  # connections that may owe their PROXY header

_log = logging.getLogger("tollkeeper.http")


class Listener:
    """One listening socket of one process; the descriptor is its own. `is_shared`: other processes accept on it too.

    `timeouts` are seconds for the TLS handshake (and for the PROXY header before it) and for the TLS farewell.
    `has_preface`: each connection begins with a PROXY header. `factory` gets the client's address that it tells.
    """

    def __init__(
        self, sock: socket.socket, factory: Callable[[str | None], asyncio.Protocol], tls: ssl.SSLContext | None,
        timeouts: tuple[float, float], is_shared: bool, has_preface: bool = False,
    ) -> None:  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._factory = factory
        self._tls = tls
        self._handshake = timeouts[0] if tls is not None else None
        self._farewell = timeouts[1] if tls is not None else None
        self._is_shared = is_shared
        self._patience = timeouts[0] if has_preface else 0.0
        self._awaited = 0  # connections whose PROXY header is not there yet
        self._taken = 0
        self._sock.setblocking(False)
        self._is_closed = False
        self._watch()

    def close(self) -> None:
        """Accept no more. What waits in the socket's queue is left to its other holders."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _watch(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client has left again
        except OSError as error:
            _log.error("no connection can be accepted for %s s: %s", _PAUSE, error)
            self._rest(_PAUSE)
            return
        self._taken += 1
        if self._is_shared and self._taken % _BURST == 0:
            self._rest(_TURN)
        client.setblocking(False)
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        spawn(self._attach(client), "accept")

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._loop.call_later(seconds, self._watch)

    async def _attach(self, client: socket.socket) -> None:
        try:
            peer = await self._receive_preface(client) if self._patience else None
            await self._loop.connect_accepted_socket(
                lambda: self._factory(peer), client, ssl=self._tls, ssl_handshake_timeout=self._handshake,
                ssl_shutdown_timeout=self._farewell,
            )  # fmt: skip
        except (OSError, TimeoutError, ValueError):  # ssl.SSLError is an OSError
            client.close()

    async def _receive_preface(self, client: socket.socket) -> str | None:
        """The client's address as the proxy tells it. Raises ValueError, OSError or TimeoutError."""
        if self._awaited >= _AWAITED:
            raise ValueError("too many connections have not said whose they are")
        self._awaited += 1
        try:
            async with asyncio.timeout(self._patience):
                return await receive_preface(client)
        finally:
            self._awaited -= 1

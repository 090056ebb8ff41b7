"""After an upgrade: raw bytes both ways between a client and an upstream until one of them is done."""

import asyncio
from dataclasses import dataclass
from typing import cast

from gateway.http.client import UpstreamConnection
from gateway.http.connection import Connection
from gateway.http.deadline import NEVER, Sweeper

_FLUSH = 5.0  # seconds the slower side has to take what was sent before its tunnel ended
_HALF_CLOSED = 10.0  # seconds of silence after which a tunnel with one closed direction ends
SERVICE_RESTART = 1012


@dataclass(frozen=True, slots=True)
class TunnelEnd:
    """Who closed first (client, upstream), or idle or gateway; and the bytes that went each way."""

    reason: str
    to_upstream: int
    to_client: int


class _Side(asyncio.Protocol):
    """One end: what it receives is written to its peer, at the peer's pace. Losses are also told to the protocol that
    owned the transport before, which keeps the books of its server or pool.
    """

    __slots__ = ("at_end", "is_lost", "name", "owner", "peer", "received", "transport", "tunnel")

    peer: "_Side"

    def __init__(self, tunnel: "Tunnel", name: str, transport: asyncio.Transport) -> None:
        self.tunnel = tunnel
        self.name = name
        self.transport = transport
        self.owner = cast("asyncio.Protocol", transport.get_protocol())
        self.received = 0
        self.at_end = False
        self.is_lost = False

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.tunnel.touch()
        if not self.peer.transport.is_closing():
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """A half-close is passed on where the other transport can (TLS cannot)."""
        self.at_end = True
        self.tunnel.half_close(self.name)
        can_half_close = self.transport.can_write_eof() and self.peer.transport.can_write_eof()
        if self.peer.at_end or self.peer.transport.is_closing() or not can_half_close:
            self.tunnel.end(self.name)
            return False
        self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.owner.connection_lost(exc)
        self.tunnel.end(self.name)


class Tunnel:
    """Two connected sides, watched by the sweeper: nothing either way for `idle_timeout` seconds ends it."""

    def __init__(
        self,
        client: tuple[asyncio.Transport, bytes],
        upstream: UpstreamConnection,
        sweeper: Sweeper,
        idle_timeout: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sweeper = sweeper
        self._idle_timeout = idle_timeout
        self._first = ""
        self._reason = ""
        self._done = self._loop.create_future()
        self.deadline = NEVER
        transport, self._leftover = client
        self._client = _Side(self, "client", transport)
        self._upstream = _Side(self, "upstream", upstream.transport)
        self._client.peer, self._upstream.peer = self._upstream, self._client
        self._early = upstream.leftover

    async def run(self) -> TunnelEnd:
        """Until both sides are closed. Cancelling it breaks both."""
        self.touch()
        self._sweeper.add(self)
        for side, early in ((self._client, self._leftover), (self._upstream, self._early)):
            side.transport.set_protocol(side)
            if early:
                side.data_received(early)
            side.transport.resume_reading()
        try:
            await self._done
        finally:
            self._sweeper.discard(self)
            self._client.transport.abort()
            self._upstream.transport.abort()
        return TunnelEnd(self._reason, self._client.received, self._upstream.received)

    def touch(self) -> None:
        if not self._reason:
            self.deadline = self._loop.time() + self._idle_timeout

    def half_close(self, name: str) -> None:
        """One direction is over; the other one has no long time left unless it is used."""
        self._first = self._first or name
        self._idle_timeout = min(self._idle_timeout, _HALF_CLOSED)
        self.touch()

    def end(self, reason: str) -> None:
        """Close both sides once what was sent is flushed; the first reason counts."""
        if not self._reason:
            self._reason = self._first or reason
            self.deadline = self._loop.time() + _FLUSH
            self._client.transport.close()
            self._upstream.transport.close()
        if self._client.is_lost and self._upstream.is_lost and not self._done.done():
            self._done.set_result(None)

    def close(self, code: int = SERVICE_RESTART) -> None:
        """Say goodbye to a WebSocket client with a close frame (RFC 6455, 5.5.1), and end.

        In the middle of a data frame the client takes it for payload, and sees an abnormal end as it would without.
        """
        if not self._reason:
            if not self._upstream.at_end and not self._client.transport.is_closing():
                self._client.transport.write(b"\x88\x02" + code.to_bytes(2, "big"))
            self.end("gateway")

    def expire(self) -> None:
        if not self._reason:
            self.end("idle")
        else:
            self.deadline = NEVER
            self._client.transport.abort()
            self._upstream.transport.abort()


async def splice(
    client: tuple[asyncio.Transport, bytes], upstream: UpstreamConnection, sweeper: Sweeper, idle_timeout: float
) -> TunnelEnd:
    """Join `request.upgrade()` and an upstream connection that answered 101, until the end.

    When the server breaks its connections, the client gets a close frame 1012 first.
    """
    tunnel = Tunnel(client, upstream, sweeper, idle_timeout)
    connection = client[0].get_protocol()
    if isinstance(connection, Connection):
        connection.on_abort = tunnel.close
    return await tunnel.run()

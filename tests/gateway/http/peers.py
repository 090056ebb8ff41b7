"""The other ends: a gateway server under test, a raw client, and an upstream that misbehaves on demand."""

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.http.client import UpstreamConnection
from gateway.http.deadline import Sweeper
from gateway.http.origin import Origin
from gateway.http.pool import ClientLimits, Pool
from gateway.http.server import Connection, HttpServer, Request, ServerLimits

Handler = Callable[[Request], Awaitable[None]]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def refuse(connection: Connection, number: int, message: str) -> bytes:
    body = f"{number} {message}".encode()
    return b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def eventually(condition: Callable[[], object], within: float = 20.0) -> None:
    """Fails unless `condition` becomes true in time."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


class RawClient:
    """Writes bytes as they are and reads answers with just enough HTTP to tell them apart."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> tuple[int, bytes, bytes]:
        """Status, head in lower case, body by its Content-Length."""
        head = (await self.head()).lower()
        length = 0
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        async with asyncio.timeout(5):
            return int(head.split()[1]), head, await self.reader.readexactly(length)

    async def ask(self, data: bytes) -> tuple[int, bytes, bytes]:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """Everything until the connection ends, however it ends."""
        parts = []
        async with asyncio.timeout(5):
            try:
                while data := await self.reader.read(65_536):
                    parts.append(data)
            except ConnectionResetError:
                pass
        return b"".join(parts)

    async def is_closed(self) -> bool:
        return await self.rest() == b""

    def close(self) -> None:
        self.writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """A real RST, not a FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request, head and body, as an upstream's script sees it."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            head += await reader.readexactly(int(line.split(b":")[1]))
    return head


@dataclass
class Upstream:
    """A scripted origin and what it saw."""

    port: int
    origin: Origin
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)


class Site:
    """What a test starts, and everything it must be rid of at the end."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sweeper = Sweeper(self.loop, 0.02)
        self.servers: list[HttpServer] = []
        self.pools: list[Pool] = []
        self._origins: list[tuple[asyncio.Server, Upstream]] = []
        self._clients: list[RawClient] = []

    async def serve(
        self, handler: Handler, limits: ServerLimits | None = None, tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> tuple[HttpServer, int]:  # fmt: skip
        server = HttpServer(self.loop, handler, limits or ServerLimits(), self.sweeper, refuse)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family) as sock:
            server.listen(sock, tls)
            port = sock.getsockname()[1]
        self.servers.append(server)
        return server, port

    async def client(self, port: int, **options: object) -> RawClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
        client = RawClient(reader, writer)
        self._clients.append(client)
        return client

    async def upstream(self, script: Script, **options: object) -> Upstream:
        """An origin that runs `script` per connection and closes it afterwards."""
        upstream = Upstream(0, Origin("", 0))

        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            upstream.connections += 1
            upstream.writers.append(writer)
            try:
                await script(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(run, "127.0.0.1", 0, **options)
        upstream.port = server.sockets[0].getsockname()[1]
        upstream.origin = Origin("127.0.0.1", upstream.port)
        self._origins.append((server, upstream))
        return upstream

    def pool(self, limits: ClientLimits | None = None) -> Pool:
        self.pools.append(Pool(self.loop, self.sweeper, limits))
        return self.pools[-1]

    async def connect(self, upstream: Upstream, pool: Pool | None = None) -> UpstreamConnection:
        """A connection whose timeouts are long, so that tests set those they are about."""
        connection = await (pool or self.pool()).connect(upstream.origin, 5.0)
        connection.first_byte_timeout = connection.idle_timeout = 5.0
        return connection

    async def close(self) -> None:
        for client in self._clients:
            client.close()
        for pool in self.pools:
            pool.close()
        for server in self.servers:
            server.close()
            async with asyncio.timeout(5):
                await server.wait_idle()
        for listener, upstream in self._origins:
            listener.close()
            for writer in upstream.writers:
                writer.transport.abort()
        await eventually(lambda: not any(pool.open for pool in self.pools))
        self.sweeper.close()
        await asyncio.sleep(0)

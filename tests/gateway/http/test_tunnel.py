"""WebSockets as raw bytes: splicing, half-close, back-pressure, goodbyes."""

import asyncio

import pytest

from gateway.http.client import UpstreamConnection
from gateway.http.pool import Pool
from gateway.http.server import HttpServer, Request
from gateway.http.tunnel import TunnelEnd, splice
from tests.gateway.http.peers import RawClient, Script, Site, Upstream, eventually

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends every piece back in capitals."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCH)
    while data := await reader.read(65_536):
        writer.write(data.upper())
        await writer.drain()


class Scene:
    """A client, a server that tunnels and an upstream; `ends` tells how each tunnel ended."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ends: list[TunnelEnd] = []
        self.server: HttpServer
        self.pool: Pool = site.pool()

    async def start(self, script: Script, idle: float = 5.0, delay: float = 0.0, **options: object) -> RawClient:
        upstream = await self.site.upstream(script)

        async def handler(request: Request) -> None:
            if request.head.upgrade is None:
                request.respond(400, [], b"no websocket")
                return
            connection = await self._ask(upstream)
            await asyncio.sleep(delay)
            request.inform(101, [(b"connection", b"upgrade"), (b"upgrade", request.head.upgrade)])
            self.ends.append(await splice(request.upgrade(), connection, self.site.sweeper, idle))

        self.server, port = await self.site.serve(handler)
        return await self.site.client(port, **options)

    async def _ask(self, upstream: Upstream) -> UpstreamConnection:
        connection = await self.site.connect(upstream, self.pool)
        connection.send(b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert (await connection.response()).status == 101
        return connection

    async def is_over(self) -> TunnelEnd:
        await eventually(lambda: self.ends and not self.server.connections and not self.pool.open)
        return self.ends[0]


@pytest.fixture
async def scene(site: Site) -> Scene:
    return Scene(site)


async def test_bytes_both_ways(scene: Scene) -> None:
    client = await scene.start(reverse)
    await client.send(UPGRADE)
    assert (await client.head()).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    for _ in range(3):
        await client.send(b"hello")
        assert await client.reader.readexactly(5) == b"HELLO"
    client.close()
    assert await scene.is_over() == TunnelEnd("client", 15, 15)


async def test_bytes_that_came_early_are_not_lost(scene: Scene) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH + b"one ")
        await asyncio.sleep(0.03)
        writer.write(b"two ")
        writer.write(await reader.readexactly(10))
        await writer.drain()

    client = await scene.start(script, delay=0.1)
    await client.send(UPGRADE + b"early")
    await asyncio.sleep(0.02)
    await client.send(b"later")
    await client.head()
    assert await client.rest() == b"one two earlylater"
    client.close()
    assert (await scene.is_over()).reason == "upstream"


async def test_a_half_close_is_passed_on(scene: Scene) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        question = await reader.read()
        writer.write(b"you said " + question)
        await writer.drain()

    client = await scene.start(script)
    await client.send(UPGRADE)
    await client.head()
    await client.send(b"all")
    client.writer.write_eof()
    assert await client.rest() == b"you said all"
    assert await scene.is_over() == TunnelEnd("client", 3, 12)


async def test_large_transfers_at_the_slower_ones_pace(scene: Scene) -> None:
    client = await scene.start(reverse, limit=1000)
    await client.send(UPGRADE)
    await client.head()
    size = 20_000_000
    sending = asyncio.ensure_future(client.send(b"x" * size))
    await asyncio.sleep(0.2)
    (connection,) = scene.server.connections
    assert connection.transport.get_write_buffer_size() < 10_000_000
    got = 0
    while got < size:
        data = await client.reader.read(262_144)
        assert set(data) == set(b"X")
        got += len(data)
    await sending


async def test_an_idle_tunnel_ends(scene: Scene) -> None:
    client = await scene.start(reverse, idle=0.15)
    await client.send(UPGRADE)
    await client.head()
    for _ in range(4):
        await asyncio.sleep(0.05)
        await client.send(b"a")
        assert await client.reader.readexactly(1) == b"A"
    assert await client.is_closed()
    assert (await scene.is_over()).reason == "idle"


async def test_a_broken_server_says_goodbye_first(scene: Scene) -> None:
    client = await scene.start(reverse)
    await client.send(UPGRADE)
    await client.head()
    scene.server.abort_all()
    assert await client.rest() == b"\x88\x02\x03\xf4"
    assert (await scene.is_over()).reason == "gateway"


async def test_an_upstream_that_dies_ends_the_tunnel(scene: Scene) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        await reader.readexactly(1)
        writer.transport.abort()

    client = await scene.start(script)
    await client.send(UPGRADE)
    await client.head()
    await client.send(b"x")
    assert await client.is_closed()
    client.close()
    assert (await scene.is_over()).reason == "upstream"


async def test_a_client_that_ignores_the_upstreams_end_is_not_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)

    monkeypatch.setattr("gateway.http.tunnel._HALF_CLOSED", 0.1)
    client = await scene.start(script)
    await client.send(UPGRADE)
    await client.head()
    assert (await scene.is_over()).reason == "upstream"


async def test_a_refused_upgrade_is_an_answer_like_any_other(site: Site) -> None:
    async def handler(request: Request) -> None:
        assert request.head.upgrade == b"websocket"
        request.respond(401, [], b"no key")

    _, port = await site.serve(handler)
    client = await site.client(port)
    status, head, body = await client.ask(UPGRADE + b"\x81\x00")
    assert (status, body, b"connection: close" in head) == (401, b"no key", True)
    assert await client.is_closed()

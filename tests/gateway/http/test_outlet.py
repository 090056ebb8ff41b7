"""Clients that do not read."""

import asyncio
import time

from gateway.http.faults import ClientStalled
from gateway.http.server import Request, ServerLimits
from tests.gateway.http.peers import Site, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MEGABYTE = b"x" * 1_000_000


async def test_a_client_that_does_not_read_stalls_the_drain(site: Site) -> None:
    ended: list[tuple[type, float]] = []

    async def handler(request: Request) -> None:
        request.begin(200, [], None)
        try:
            while True:
                request.write(MEGABYTE)
                start = time.monotonic()
                await request.drain()
        except ClientStalled:
            ended.append((ClientStalled, time.monotonic() - start))
            assert request.stalled
            request.abort()

    server, port = await site.serve(handler, ServerLimits(write_timeout=0.4))
    client = await site.client(port, limit=1)
    await client.send(GET)
    await eventually(lambda: ended, 5)
    assert 0.3 < ended[0][1] < 0.9
    await eventually(lambda: not server.connections)


async def test_a_client_that_does_not_read_is_cut_off_under_a_handler_that_pipes(site: Site) -> None:
    events: list[str] = []

    async def handler(request: Request) -> None:
        request.on_pause = lambda: events.append("pause")
        request.on_resume = lambda: events.append("resume")
        request.begin(200, [], None)
        while not request.paused:
            request.write(MEGABYTE)
            await asyncio.sleep(0)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            events.append(f"cancelled {request.stalled}")
            raise

    server, port = await site.serve(handler, ServerLimits(write_timeout=0.4))
    client = await site.client(port, limit=1)
    await client.send(GET)
    await eventually(lambda: not server.connections, 5)
    await eventually(lambda: events[-1] == "cancelled True")
    assert events[0] == "pause"


async def test_a_slow_client_that_reads_gets_everything(site: Site) -> None:
    events: list[str] = []
    count = 30

    async def handler(request: Request) -> None:
        request.on_pause = lambda: events.append("pause")
        request.on_resume = lambda: events.append("resume")
        request.begin(200, [], count * len(MEGABYTE))
        for _ in range(count):
            request.write(MEGABYTE)
            await request.drain()
        request.end()

    _, port = await site.serve(handler, ServerLimits(write_timeout=0.5))
    client = await site.client(port, limit=1000)
    await client.send(GET)
    await client.head()
    got = 0
    for step in range(10_000_000):
        data = await client.reader.read(262_144)
        got += len(data)
        if step % 20 == 0:
            await asyncio.sleep(0.01)
        if got == count * len(MEGABYTE):
            break
        assert data
    assert events.count("pause") >= 1
    assert abs(events.count("pause") - events.count("resume")) <= 1


async def test_one_large_answer_read_slowly_survives_the_write_timeout(site: Site) -> None:
    body = MEGABYTE * 12

    async def handler(request: Request) -> None:
        request.respond(200, [], body)

    _, port = await site.serve(handler, ServerLimits(write_timeout=0.4))
    client = await site.client(port, limit=1)
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    got = b""
    start = time.monotonic()
    while data := await client.reader.read(400_000):
        got += data
        await asyncio.sleep(0.02)
    assert time.monotonic() - start > 0.4
    assert got.endswith(body)


async def test_an_answer_nobody_takes_does_not_hold_its_connection(site: Site) -> None:
    async def handler(request: Request) -> None:
        request.respond(200, [], MEGABYTE * 20)

    server, port = await site.serve(handler, ServerLimits(write_timeout=0.3))
    client = await site.client(port, limit=1)
    await client.send(GET)
    await eventually(lambda: server.connections)
    await eventually(lambda: not server.connections, 3)

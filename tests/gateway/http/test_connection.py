"""A connection's life: keep-alive, cancellation, timeouts, refusals, failing handlers."""

import asyncio
import gc
import logging
import time

import pytest

from gateway.http.client import UpstreamConnection
from gateway.http.faults import ClientStalled
from gateway.http.server import Connection, Request, ServerLimits
from tests.gateway.http.peers import OK, Site, eventually, read_request, reset

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
H = b"POST / HTTP/1.1\r\nHost: a\r\n"


async def hello(request: Request) -> None:
    request.respond(200, [], b"hello")


async def test_keep_alive(site: Site) -> None:
    server, port = await site.serve(hello)
    client = await site.client(port)
    for _ in range(5):
        assert (await client.ask(GET))[2] == b"hello"
    assert len(server.connections) == 1


async def test_connection_close_is_honoured(site: Site) -> None:
    _, port = await site.serve(hello)
    client = await site.client(port)
    _, head, body = await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (b"connection: close\r\n" in head, body) == (True, b"hello")
    assert await client.is_closed()


@pytest.mark.parametrize("how", ["fin", "rst", "half"])
async def test_the_handler_is_cancelled_when_its_client_leaves(site: Site, how: str) -> None:
    started = asyncio.Event()
    cancelled: list[float] = []

    async def handler(request: Request) -> None:
        started.set()
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.append(time.monotonic())

    server, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(GET)
    await asyncio.wait_for(started.wait(), 2)
    left = time.monotonic()
    if how == "fin":
        client.close()
    elif how == "rst":
        reset(client.writer)
    else:
        client.writer.write_eof()
    await eventually(lambda: cancelled)
    assert cancelled[0] - left < 0.1
    await eventually(lambda: not server.connections)


async def test_a_cancelled_handler_may_still_clean_up(site: Site) -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        started.set()
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.02)
            cleaned.set()

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(GET)
    await asyncio.wait_for(started.wait(), 2)
    client.close()
    await asyncio.wait_for(cleaned.wait(), 2)


async def test_a_slow_head_is_told_so(site: Site) -> None:
    _, port = await site.serve(hello, ServerLimits(header_timeout=0.15))
    client = await site.client(port)
    start = time.monotonic()
    await client.send(b"GET / HT")
    assert (await client.answer())[2].startswith(b"1803")
    assert 0.1 < time.monotonic() - start < 5
    assert await client.is_closed()


async def test_dripping_a_head_does_not_extend_its_time(site: Site) -> None:
    _, port = await site.serve(hello, ServerLimits(header_timeout=0.15))
    client = await site.client(port)
    assert (await client.ask(GET))[0] == 200
    await client.send(b"GET / HTTP/1.1\r\nX: ")
    start = time.monotonic()
    while client.reader._buffer == b"" and time.monotonic() - start < 8:
        await client.send(b"a")
        await asyncio.sleep(0.02)
    assert time.monotonic() - start < 5
    assert (await client.answer())[2].startswith(b"1803")


async def test_a_connection_that_says_nothing_is_closed(site: Site) -> None:
    server, port = await site.serve(hello, ServerLimits(header_timeout=0.1, keep_alive=60))
    client = await site.client(port)
    assert await client.is_closed()
    await eventually(lambda: not server.connections)


async def test_an_idle_connection_is_closed(site: Site) -> None:
    _, port = await site.serve(hello, ServerLimits(header_timeout=60, keep_alive=0.1))
    client = await site.client(port)
    assert (await client.ask(GET))[0] == 200
    start = time.monotonic()
    assert await client.is_closed()
    assert time.monotonic() - start < 5


async def test_a_failing_handler(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> None:
        raise RuntimeError("a bug")

    _, port = await site.serve(handler)
    client = await site.client(port)
    with caplog.at_level(logging.ERROR):
        assert (await client.ask(GET))[2].startswith(b"1900")
    assert await client.is_closed()
    assert "a bug" in caplog.text


async def test_a_handler_that_fails_after_the_start(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> None:
        request.begin(200, [], None)
        request.write(b"half")
        raise RuntimeError("a bug")

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(GET)
    await client.head()
    assert await client.rest() == b"4\r\nhalf\r\n"


async def test_a_handler_that_gives_up_on_a_stalled_client(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> None:
        raise ClientStalled

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(GET)
    assert await client.is_closed()
    assert not caplog.records


@pytest.mark.parametrize("begins", [False, True])
async def test_a_handler_that_does_not_finish_its_answer(site: Site, begins: bool) -> None:
    async def handler(request: Request) -> None:
        if begins:
            request.begin(200, [], None)
            request.write(b"half")

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(GET)
    got = await client.rest()
    assert got.endswith(b"4\r\nhalf\r\n") if begins else b"1900" in got


async def test_received_is_on_the_loops_clock(site: Site) -> None:
    seen: list[float] = []

    async def handler(request: Request) -> None:
        seen.append(asyncio.get_running_loop().time() - request.received)
        assert (request.peer, request.scheme) == ("127.0.0.1", "http")
        request.respond(200, [], b"")

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.ask(GET)
    assert abs(seen[0]) < 0.05


@pytest.mark.parametrize(
    "request_bytes", [GET, GET[:-2] + b"Connection: close\r\n\r\n", b"GET //x HTTP/1.1\r\nHost: a\r\n\r\n", b""]
)
async def test_a_closed_connection_needs_no_garbage_collector(site: Site, request_bytes: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)

    upstream = await site.upstream(script)

    async def handler(request: Request) -> None:
        connection = await site.connect(upstream)
        connection.send(GET)
        await connection.response()
        request.respond(200, [], connection.body())
        connection.close()

    def alive() -> list[object]:
        kinds = (Connection, Request, UpstreamConnection)
        return [each for each in gc.get_objects() if isinstance(each, kinds)]

    server, port = await site.serve(handler)
    gc.collect()
    gc.disable()
    try:
        client = await site.client(port)
        if request_bytes:
            await client.ask(request_bytes)
        else:
            await eventually(lambda: server.connections)
        client.close()
        await eventually(lambda: not server.connections and not alive())
    finally:
        gc.enable()

"""A connection's life: keep-alive, cancellation, timeouts, refusals, failing handlers."""

import asyncio
import logging
import time

import pytest

from gateway.http.server import Request, ServerLimits
from tests.gateway.http.peers import Site, eventually, reset

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
    for _ in range(6):
        await asyncio.sleep(0.05)
        if time.monotonic() - start < 0.12:
            await client.send(b"T"[:0] or b"")
    assert (await client.answer())[2].startswith(b"1803")
    assert time.monotonic() - start < 0.7
    assert await client.is_closed()


async def test_dripping_a_head_does_not_extend_its_time(site: Site) -> None:
    _, port = await site.serve(hello, ServerLimits(header_timeout=0.15))
    client = await site.client(port)
    assert (await client.ask(GET))[0] == 200
    await client.send(b"GET / HTTP/1.1\r\nX: ")
    start = time.monotonic()
    while client.reader._buffer == b"" and time.monotonic() - start < 1:  # type: ignore[attr-defined]
        await client.send(b"a")
        await asyncio.sleep(0.02)
    assert time.monotonic() - start < 0.5
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
    assert time.monotonic() - start < 0.5


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


async def test_a_small_unread_body_is_skipped(site: Site) -> None:
    _, port = await site.serve(hello)
    client = await site.client(port)
    await client.send(H + b"Content-Length: 50000\r\n\r\n" + b"x" * 10_000)
    assert b"connection: close" not in (await client.answer())[1]
    await client.send(b"x" * 40_000 + GET)
    assert (await client.answer())[2] == b"hello"


async def test_a_large_unread_body_ends_the_connection_after_the_answer(site: Site) -> None:
    _, port = await site.serve(hello)
    client = await site.client(port)
    await client.send(H + b"Content-Length: 500000\r\n\r\n" + b"x" * 100_000)
    _, head, body = await client.answer()
    assert (b"connection: close" in head, body) == (True, b"hello")
    await client.send(b"x" * 400_000)
    assert await client.is_closed()


async def test_an_endless_unread_body_ends_the_connection(site: Site) -> None:
    server, port = await site.serve(hello)
    client = await site.client(port)
    await client.send(H + b"Transfer-Encoding: chunked\r\n\r\n")
    assert (await client.answer())[2] == b"hello"
    with pytest.raises(ConnectionError):
        for _ in range(1000):
            await client.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await asyncio.sleep(0.001)
    await eventually(lambda: not server.connections)


async def test_the_answer_to_an_early_refusal_is_seen_despite_the_upload(site: Site) -> None:
    async def handler(request: Request) -> None:
        request.respond(413, [], b"too large")

    _, port = await site.serve(handler)
    client = await site.client(port)
    client.writer.write(H + b"Content-Length: 900000\r\n\r\n" + b"x" * 900_000)
    assert (await client.answer())[::2] == (413, b"too large")


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

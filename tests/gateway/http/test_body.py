import asyncio
import time

import pytest

from gateway.http.faults import BadRequest, BodyTimeout, BodyTooLarge
from gateway.http.server import Request, ServerLimits
from tests.gateway.http.peers import Site

H = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"


def reader(limit: int) -> object:
    async def handler(request: Request) -> None:
        try:
            request.respond(200, [], await request.read(limit))
        except BadRequest as fault:
            request.respond(400, [], f"{type(fault).__name__} {fault.number}".encode())

    return handler


async def test_a_body_that_is_there_is_read_without_waiting(site: Site) -> None:
    async def handler(request: Request) -> None:
        assert request.complete
        reading = request.read(10)
        with pytest.raises(StopIteration) as done:
            reading.send(None)
        request.respond(200, [], done.value.value)

    _, port = await site.serve(handler)
    client = await site.client(port)
    assert (await client.ask(H + b"Content-Length: 2\r\n\r\nhi"))[2] == b"hi"


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
async def test_up_to_the_limit(site: Site, size: int) -> None:
    _, port = await site.serve(reader(1000))
    client = await site.client(port)
    body = b"x" * size
    assert (await client.ask(H + b"Content-Length: %d\r\n\r\n" % size + body))[2] == body
    chunk = b"%x\r\n%b\r\n" % (size, body) if size else b""
    assert (await client.ask(CHUNKED + chunk + b"0\r\n\r\n"))[2] == body


async def test_too_large_by_its_length_is_refused_before_it_comes(site: Site) -> None:
    _, port = await site.serve(reader(1000))
    client = await site.client(port)
    _, head, body = await client.ask(H + b"Content-Length: 1000000\r\n\r\n")
    assert body == b"BodyTooLarge 1208"
    assert b"connection: close" in head


async def test_too_large_by_count(site: Site) -> None:
    _, port = await site.serve(reader(1000))
    client = await site.client(port)
    await client.send(CHUNKED)
    for _ in range(11):
        await client.send(b"64\r\n" + b"x" * 100 + b"\r\n")
        await asyncio.sleep(0.002)
    assert (await client.answer())[2] == b"BodyTooLarge 1208"


async def test_a_body_that_stops_times_out(site: Site) -> None:
    _, port = await site.serve(reader(1000), ServerLimits(body_timeout=0.15))
    client = await site.client(port)
    start = time.monotonic()
    assert (await client.ask(H + b"Content-Length: 10\r\n\r\nabc"))[2] == b"BodyTimeout 1804"
    assert 0.1 < time.monotonic() - start < 5
    assert await client.is_closed()


async def test_a_slow_body_that_progresses_does_not(site: Site) -> None:
    _, port = await site.serve(reader(1000), ServerLimits(body_timeout=0.15))
    client = await site.client(port)
    await client.send(H + b"Content-Length: 8\r\n\r\n")
    for _ in range(8):
        await asyncio.sleep(0.05)
        await client.send(b"x")
    assert (await client.answer())[2] == b"x" * 8


async def test_a_drip_below_the_minimum_rate_times_out(site: Site) -> None:
    limits = ServerLimits(body_timeout=0.15, body_rate_min=1000)
    _, port = await site.serve(reader(1000), limits)
    client = await site.client(port)
    await client.send(H + b"Content-Length: 100\r\n\r\n")
    for _ in range(8):
        await asyncio.sleep(0.05)
        await client.send(b"x")
    assert (await client.answer())[2] == b"BodyTimeout 1804"


async def test_expect_continue(site: Site) -> None:
    _, port = await site.serve(reader(1000))
    client = await site.client(port)
    await client.send(H + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.ask(b"hi"))[2] == b"hi"
    assert (await client.ask(H + b"Content-Length: 2\r\n\r\nho"))[2] == b"ho"


async def test_no_continue_for_a_client_that_did_not_wait(site: Site) -> None:
    _, port = await site.serve(reader(1000))
    client = await site.client(port)
    assert (await client.ask(H + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"))[0] == 200


async def test_no_continue_for_a_refused_upload(site: Site) -> None:
    async def handler(request: Request) -> None:
        request.respond(401, [], b"")

    _, port = await site.serve(handler)
    client = await site.client(port)
    status, head, _ = await client.ask(H + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (status, b"connection: close" in head) == (401, True)


async def test_chunks_come_as_they_arrive(site: Site) -> None:
    got: list[bytes] = []
    seen = asyncio.Event()

    async def handler(request: Request) -> None:
        async for chunk in request.chunks(1000):
            got.append(chunk)
            seen.set()
        request.respond(200, [], b"".join(got))

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(CHUNKED)
    for number in range(3):
        seen.clear()
        await client.send(b"1\r\n%d\r\n" % number)
        await asyncio.wait_for(seen.wait(), 2)
    await client.send(b"0\r\n\r\n")
    assert (await client.answer())[2] == b"012"
    assert got == [b"0", b"1", b"2"]


async def test_chunks_are_counted_and_timed(site: Site) -> None:
    faults: list[type] = []

    async def handler(request: Request) -> None:
        try:
            async for _ in request.chunks(4):
                pass
        except BadRequest as fault:
            faults.append(type(fault))
            request.respond(400, [], b"")

    _, port = await site.serve(handler, ServerLimits(body_timeout=0.1))
    for data in (b"5\r\nabcde\r\n", b"1\r\na\r\n"):
        client = await site.client(port)
        await client.ask(CHUNKED + data)
    assert faults == [BodyTooLarge, BodyTimeout]


async def test_a_slow_consumer_bounds_what_is_buffered(site: Site) -> None:
    most = total = 0

    async def handler(request: Request) -> None:
        nonlocal most, total
        async for chunk in request.chunks(100_000_000):
            most = max(most, len(chunk))
            total += len(chunk)
            await asyncio.sleep(0.001)
        request.respond(200, [], b"")

    _, port = await site.serve(handler)
    client = await site.client(port)
    size = 20_000_000
    await client.send(H + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    assert (await client.answer())[0] == 200
    assert total == size
    assert most < 1_000_000

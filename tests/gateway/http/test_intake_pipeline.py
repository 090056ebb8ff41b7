"""Requests behind requests: order, bounds, and what ends a connection."""

import asyncio

import pytest

from gateway.http.server import Request, ServerLimits
from tests.gateway.http.peers import Site


async def echo(request: Request) -> None:
    body = await request.read(1_000_000)
    request.respond(200, [], f"{request.head.method} {request.head.path} ".encode() + body)


async def test_a_thousand_pipelined_requests_are_answered_in_order(site: Site) -> None:
    running = 0

    async def handler(request: Request) -> None:
        nonlocal running
        running += 1
        assert running == 1
        body = await request.read(100)
        if body.endswith(b"7"):
            await asyncio.sleep(0)
        running -= 1
        request.respond(200, [], request.head.path.encode() + b" " + body)

    _, port = await site.serve(handler)
    client = await site.client(port)
    wire = b"".join(
        b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%d" % (number, len(str(number)), number)
        for number in range(1000)
    )
    sending = asyncio.ensure_future(client.send(wire))
    for number in range(1000):
        assert (await client.answer())[2] == b"/%d %d" % (number, number)
    await sending


async def test_a_long_pipeline_is_not_read_on(site: Site) -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> None:
        await gate.wait()
        request.respond(200, [], b"")

    server, port = await site.serve(handler, ServerLimits(pipeline=4))
    client = await site.client(port)
    for _ in range(50):
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.001)
    (connection,) = server.connections
    assert len(connection._queue) < 10
    gate.set()
    for _ in range(50):
        assert (await client.answer())[0] == 200


async def test_a_bad_request_behind_good_ones_is_refused_in_its_turn(site: Site) -> None:
    _, port = await site.serve(echo)
    client = await site.client(port)
    await client.send(
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET //3 HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert (await client.answer())[2] == b"GET /1 "
    assert (await client.answer())[2] == b"GET /2 "
    assert (await client.answer())[2].startswith(b"1205")
    assert await client.is_closed()


@pytest.mark.parametrize(
    "last", [b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"GET /1 HTTP/1.0\r\n\r\n"]
)
async def test_nothing_is_read_behind_the_last_request(site: Site, last: bytes) -> None:
    _, port = await site.serve(echo)
    client = await site.client(port)
    status, head, body = await client.ask(last + b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, body, b"connection: close" in head) == (200, b"GET /1 ", True)
    assert await client.is_closed()

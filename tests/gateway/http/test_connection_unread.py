"""Bodies that the handler does not want."""

import asyncio

import pytest

from gateway.http.server import Request
from tests.gateway.http.peers import Site, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
H = b"POST / HTTP/1.1\r\nHost: a\r\n"


async def hello(request: Request) -> None:
    request.respond(200, [], b"hello")


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

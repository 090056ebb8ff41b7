"""Upstreams that are late."""

import asyncio

import pytest

from gateway.http.faults import FirstByteTimeout, IdleTimeout, TotalTimeout
from tests.gateway.http.peers import Script, Site, read_request

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def says(*pieces: bytes, pause: float = 0.01) -> Script:
    """Answers each request with the pieces, one after another."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)

    return script


async def test_first_byte_timeout_without_a_head(site: Site) -> None:
    connection = await site.connect(await site.upstream(says()))
    connection.first_byte_timeout = 0.1
    connection.send(GET)
    with pytest.raises(FirstByteTimeout) as late:
        await connection.response()
    assert (late.value.sent, late.value.got) == (True, False)


async def test_first_byte_timeout_after_the_head(site: Site) -> None:
    connection = await site.connect(await site.upstream(says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")))
    connection.first_byte_timeout = 0.1
    connection.send(GET)
    await connection.response()
    with pytest.raises(FirstByteTimeout) as late:
        await connection.pipe(lambda data: None)
    assert late.value.got


async def test_idle_timeout(site: Site) -> None:
    connection = await site.connect(await site.upstream(says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", b"cd")))
    connection.idle_timeout = 0.15
    connection.send(GET)
    await connection.response()
    got: list[bytes] = []
    with pytest.raises(IdleTimeout):
        await connection.pipe(got.append)
    assert b"".join(got) == b"abcd"


async def test_total_timeout_ends_a_drip(site: Site) -> None:
    connection = await site.connect(
        await site.upstream(says(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", *[b"x"] * 50))
    )
    connection.total_deadline = site.loop.time() + 0.2
    connection.send(GET)
    await connection.response()
    with pytest.raises(TotalTimeout):
        await connection.pipe(lambda data: None)

"""Streamed uploads: framing, pace, early answers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.http.faults import BodyTimeout, IdleTimeout
from tests.gateway.http.peers import OK, Site, eventually, read_request


async def numbers(count: int, size: int = 1) -> AsyncIterator[bytes]:
    for number in range(count):
        await asyncio.sleep(0)
        yield b"%d" % (number % 10) * size


async def test_a_streamed_upload(site: Site) -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            seen.append(await reader.readuntil(b"0\r\n\r\n"))
            writer.write(OK)

    connection = await site.connect(await site.upstream(script))
    for _ in range(2):
        connection.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        await connection.send_chunks(numbers(3))
        assert (await connection.response()).status == 200
        assert connection.is_reusable
    assert seen == [b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"] * 2


async def test_an_announced_upload_goes_as_it_is(site: Site) -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await read_request(reader)).partition(b"\r\n\r\n")[2])
        writer.write(OK)

    connection = await site.connect(await site.upstream(script))
    connection.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n")
    await connection.send_chunks(numbers(3), framed=False)
    await connection.response()
    assert seen == [b"012"]


async def test_an_upload_goes_at_the_upstreams_pace(site: Site) -> None:
    taken, gate = 0, asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await gate.wait()
        await reader.readexactly(30_000_000)
        writer.write(OK)

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        async for chunk in numbers(300, 100_000):
            taken += len(chunk)
            yield chunk

    connection = await site.connect(await site.upstream(script, limit=1000))
    connection.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 30000000\r\n\r\n")
    sending = asyncio.ensure_future(connection.send_chunks(chunks(), framed=False))
    await asyncio.sleep(0.1)
    assert taken < 15_000_000
    assert connection.transport.get_write_buffer_size() < 1_000_000
    gate.set()
    await asyncio.wait_for(sending, 5)
    assert (await connection.response()).status == 200


async def test_an_upload_that_is_not_taken_times_out(site: Site) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    connection = await site.connect(await site.upstream(script, limit=1000))
    connection.idle_timeout = 0.15
    connection.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    with pytest.raises(IdleTimeout):
        await connection.send_chunks(numbers(1000, 100_000))


async def test_an_early_answer_ends_the_upload(site: Site) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await asyncio.sleep(30)

    connection = await site.connect(await site.upstream(script, limit=1000))
    connection.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    await asyncio.wait_for(connection.send_chunks(numbers(100_000, 100_000)), 5)
    assert (await connection.response()).status == 413
    assert connection.body() == b"no"
    assert not connection.is_reusable


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_a_body_that_broke_off_spoils_the_connection_even_if_its_answer_is_whole(site: Site, end: str) -> None:
    """What would be sent next would be read as the rest of that body: another client's request, or a part of one."""

    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"first")
        writer.write(OK)
        await reader.read()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        if end == "failed":
            await eventually(lambda: connection.complete)
            raise BodyTimeout
        await asyncio.Event().wait()

    pool, upstream = site.pool(), await site.upstream(answer_early)
    connection = await site.connect(upstream, pool)
    connection.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    sending = asyncio.ensure_future(connection.send_chunks(chunks()))
    await eventually(lambda: connection.complete)
    if end == "cancelled":
        sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    pool.give(connection)
    assert pool.take(upstream.origin) is None

"""Upstreams that break (F01 to F13 of any gateway's failure list)."""

import asyncio
import tracemalloc

import pytest

from gateway.http.client import UpstreamConnection
from gateway.http.faults import BadResponse, HeaderTooLarge, ResetBeforeResponse, Truncated, UpstreamError
from tests.gateway.http.peers import OK, Script, Site, eventually, read_request, reset

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST = b"7\r\ndata: 1\r\n"


def breaks(data: bytes, how: str) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)
        await asyncio.sleep(0.03)
        if how == "rst":
            reset(writer)
        elif how == "fin":
            writer.close()
        else:
            await reader.read()

    return script


async def failure(connection: UpstreamConnection) -> tuple[UpstreamError, bytes]:
    got: list[bytes] = []
    with pytest.raises(UpstreamError) as failed:
        connection.send(GET)
        await connection.response()
        await connection.pipe(got.append)
    assert not connection.is_reusable
    return failed.value, b"".join(got)


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize(
    ("data", "got"), [(b"", False), (b"HTTP/1.1 200 OK\r\nContent-", True), (b"HTTP/1.1 100 Continue\r\n\r\n", True)]
)
async def test_an_end_before_the_head_is_complete(site: Site, data: bytes, got: bool, how: str) -> None:
    error, _ = await failure(await site.connect(await site.upstream(breaks(data, how))))
    assert isinstance(error, ResetBeforeResponse)
    assert (error.kind, error.sent, error.got) == ("reset", True, got)


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize(
    ("data", "body"),
    [
        (SSE + FIRST, b"data: 1"),
        (SSE + FIRST + b"7\r\nda", b"data: 1da"),
        (SSE + FIRST + b"0\r\n", b"data: 1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello", b"hello"),
    ],
)
async def test_an_end_inside_the_body(site: Site, data: bytes, body: bytes, how: str) -> None:
    error, got = await failure(await site.connect(await site.upstream(breaks(data, how))))
    assert isinstance(error, Truncated)
    assert (error.kind, error.got, got) == ("truncated", True, body)


async def test_a_reset_inside_a_close_delimited_body_is_not_its_end(site: Site) -> None:
    error, got = await failure(await site.connect(await site.upstream(breaks(b"HTTP/1.0 200 OK\r\n\r\nhalf", "rst"))))
    assert isinstance(error, Truncated)
    assert got == b"half"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xffgarbage",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        b"HTTP/1.1 1000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        b"HTTP/1.1 101 Switching\r\n\r\nraw",
        SSE + b"zz\r\n",
        SSE + FIRST + b"-1\r\n",
    ],
)
async def test_what_is_not_http(site: Site, data: bytes) -> None:
    connection = await site.connect(await site.upstream(breaks(data, "hang")))
    connection.send(GET)
    with pytest.raises(BadResponse) as failed:
        await asyncio.wait_for(connection.response(), 1)
        await asyncio.wait_for(connection.pipe(lambda piece: None), 1)
    assert (failed.value.kind, failed.value.got) == ("malformed", True)
    await eventually(lambda: not site.pools[0].open)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 10_000 + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 201 + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    ],
)
async def test_heads_that_are_too_large(site: Site, data: bytes) -> None:
    error, _ = await failure(await site.connect(await site.upstream(breaks(data, "hang"))))
    assert isinstance(error, HeaderTooLarge)


@pytest.mark.parametrize(
    "extra", [b"HTTP/1.1 200 OK\r\nx-evil: 1\r\ncontent-length: 0\r\n\r\n", b"garbage", b"H", b"\r\nx", b"HTTP/1.1 200"]
)
async def test_bytes_behind_the_answer_are_dropped_and_the_connection_with_them(site: Site, extra: bytes) -> None:
    pool = site.pool()
    connection = await site.connect(await site.upstream(breaks(OK + extra, "hang")), pool)
    connection.send(GET)
    assert (await connection.response()).get(b"x-evil") is None
    assert connection.complete
    assert connection.body() == b"ok"
    assert not connection.is_reusable
    pool.give(connection)
    assert pool.take(connection.origin) is None


async def test_bytes_that_answer_nothing_close_an_idle_connection(site: Site) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(OK)
        await reader.read()

    pool = site.pool()
    connection = await site.connect(await site.upstream(script), pool)
    connection.send(GET)
    await connection.response()
    pool.give(connection)
    assert pool.idle == 1
    await eventually(lambda: not pool.idle and not pool.open)


async def test_compressed_bodies_pass_as_they_are(site: Site) -> None:
    """A bomb is as small here as it is on the wire."""
    size, sent = 20_000_000, b"\x1f\x8b" + b"\x00" * 99_998

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // len(sent)):
            writer.write(sent)
            await writer.drain()

    connection = await site.connect(await site.upstream(script))
    connection.send(GET)
    got = 0

    def sink(data: bytes) -> None:
        nonlocal got
        got += len(data)

    tracemalloc.start()
    await connection.response()
    await connection.pipe(sink)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got == size
    assert peak < 8_000_000

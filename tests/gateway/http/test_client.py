"""Exchanges with an upstream that behaves, and the pace of them."""

import asyncio

import pytest

from gateway.http.faults import ResetBeforeResponse, ResponseTooLarge
from tests.gateway.http.peers import OK, Script, Site, eventually, read_request

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


async def test_a_short_answer_is_complete_with_its_head(site: Site) -> None:
    connection = await site.connect(await site.upstream(says(OK)))
    for count in range(1, 4):
        connection.send(GET)
        head = await connection.response()
        assert (head.status, head.version, head.reason, head.get(b"content-length")) == (200, "1.1", b"OK", b"2")
        assert connection.complete
        assert connection.body() == b"ok"
        assert connection.body() == b""
        assert (connection.requests, connection.reused, connection.is_reusable) == (count, count > 1, True)


async def test_a_body_in_pieces_is_piped_as_it_comes(site: Site) -> None:
    upstream = await site.upstream(
        says(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"3\r\nabc\r\n2\r\nde\r\n",
            b"1\r\nf\r\n",
            b"0\r\n\r\n",
        )
    )
    connection = await site.connect(upstream)
    for _ in range(2):
        got: list[bytes] = []
        connection.send(GET)
        await connection.response()
        assert not connection.complete
        await connection.pipe(got.append)
        assert got == [b"abcde", b"f"]
        assert connection.is_reusable


async def test_what_came_before_the_pipe_is_not_lost(site: Site) -> None:
    connection = await site.connect(
        await site.upstream(says(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nab", b"cd", b"ef"))
    )
    connection.send(GET)
    await connection.response()
    await asyncio.sleep(0.02)
    assert await connection.collect(6) == b"abcdef"


@pytest.mark.parametrize("pieces", [(OK,), (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", b"abc")])
async def test_collecting_is_bounded(site: Site, pieces: tuple[bytes, ...]) -> None:
    connection = await site.connect(await site.upstream(says(*pieces)))
    connection.send(GET)
    await connection.response()
    with pytest.raises(ResponseTooLarge):
        await connection.collect(1)
    assert not connection.is_reusable or connection.complete


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_answers_without_a_body(site: Site, answer: bytes) -> None:
    connection = await site.connect(await site.upstream(says(answer)))
    for _ in range(2):
        connection.send(GET)
        head = await connection.response()
        assert head.status >= 200
        assert head.get(b"link") is None
        assert connection.complete
        assert connection.is_reusable


async def test_head_has_a_length_and_no_body(site: Site) -> None:
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        OK,
    ]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
        await reader.read()

    connection = await site.connect(await site.upstream(script))
    for method in (b"HEAD", b"HEAD", b"GET"):
        connection.send(method + GET[3:])
        await connection.response()
        assert connection.complete
        assert connection.is_reusable
    assert connection.body() == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nall of it",
        b"HTTP/1.0 200 OK\r\n\r\nall of it",
        b"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nall of it",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nall of it",
    ],
)
async def test_answers_that_end_their_connection(site: Site, answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for at in range(0, len(answer), 7):
            writer.write(answer[at : at + 7])
            await asyncio.sleep(0.002)

    connection = await site.connect(await site.upstream(script))
    connection.send(GET)
    await connection.response()
    assert await connection.collect(100) == b"all of it"
    assert not connection.is_reusable


async def test_the_idle_clock_stands_still_while_paused(site: Site) -> None:
    connection = await site.connect(await site.upstream(says(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", b"cd")))
    connection.idle_timeout = 0.1
    connection.send(GET)
    await connection.response()
    got: list[bytes] = []
    connection.pause()
    piping = asyncio.ensure_future(connection.pipe(got.append))
    await asyncio.sleep(0.3)
    assert not piping.done()
    assert got == [b"ab"]
    connection.resume()
    await asyncio.wait_for(piping, 1)
    assert got == [b"ab", b"cd"]


async def test_a_paused_reader_bounds_memory_and_holds_the_upstream_back(site: Site) -> None:
    size, sent = 50_000_000, 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 100_000)
            sent += 100_000
            await writer.drain()

    connection = await site.connect(await site.upstream(script))
    connection.send(GET)
    await connection.response()
    await asyncio.sleep(0.1)
    assert connection._unread < 1_000_000
    assert sent < 20_000_000
    got = 0

    def sink(data: bytes) -> None:
        nonlocal got
        got += len(data)
        connection.pause()
        asyncio.get_running_loop().call_soon(connection.resume)

    await connection.pipe(sink)
    assert got == size


async def test_a_sink_that_fails_breaks_the_exchange(site: Site) -> None:
    connection = await site.connect(
        await site.upstream(says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"ab", b"cd"))
    )
    connection.send(GET)
    await connection.response()

    def sink(data: bytes) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await connection.pipe(sink)
    assert not connection.is_reusable


async def test_a_closed_connection_says_that_nothing_was_sent(site: Site) -> None:
    connection = await site.connect(await site.upstream(says(OK)))
    connection.close()
    with pytest.raises(ResetBeforeResponse) as failure:
        connection.send(GET)
    assert not failure.value.sent


async def test_a_cancelled_wait_leaves_nothing_behind(site: Site) -> None:
    connection = await site.connect(
        await site.upstream(says(b"HTTP/1.1 200 OK\r\n", b"content-length: 2\r\n\r\nok", pause=0.1))
    )
    connection.send(GET)
    waiting = asyncio.ensure_future(connection.response())
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.sleep(0.02)
    connection.abort()
    await eventually(lambda: not site.pools[0].open)


async def test_how_long_an_answer_is_awaited(site: Site) -> None:
    """Counted from the request, and anew from each byte; not while it is our side that does not read."""
    held = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await held.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
        await reader.read()

    connection = await site.connect(await site.upstream(script))
    assert connection.waited() == 0, "nothing was asked for"
    connection.first_byte_timeout, connection.idle_timeout = 60.0, 30.0
    connection.send(GET)
    await asyncio.sleep(0.2)
    first = connection.waited()
    assert 0.15 < first < 10
    held.set()
    await connection.response()
    await eventually(lambda: connection.body() == b"o")
    before = connection.waited()
    await asyncio.sleep(0.1)
    assert connection.waited() >= before + 0.08
    connection.pause()
    assert connection.waited() == 0
    connection.resume()
    assert connection.waited() < 1
    connection.total_deadline = connection.deadline
    assert connection.waited() == 0, "the time of the whole is nearly over: nobody can tell"
    connection.abort()

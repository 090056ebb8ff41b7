"""Exchanges with an upstream that behaves, and the pace of them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.http.faults import FirstByteTimeout, IdleTimeout, ResetBeforeResponse, ResponseTooLarge, TotalTimeout
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
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
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

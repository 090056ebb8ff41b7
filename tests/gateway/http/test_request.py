import asyncio
from collections.abc import Callable

import pytest

from gateway.http.faults import ClientGone
from gateway.http.server import Request
from tests.gateway.http.peers import RawClient, Site

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"


async def asked(site: Site, answer: Callable[[Request], None]) -> RawClient:
    async def handler(request: Request) -> None:
        answer(request)

    _, port = await site.serve(handler)
    return await site.client(port)


async def test_a_complete_answer(site: Site) -> None:
    client = await asked(site, lambda r: r.respond(200, [(b"content-type", b"a/b")], b"hello", b"x-extra: 1\r\n"))
    status, head, body = await client.ask(GET)
    assert (status, body) == (200, b"hello")
    lines = head.split(b"\r\n")
    assert b"content-length: 5" in lines
    assert b"content-type: a/b" in lines
    assert b"x-extra: 1" in lines
    assert any(line.startswith(b"date: ") and line.endswith(b"gmt") for line in lines)
    assert not any(line.startswith(b"connection") for line in lines)


async def test_a_large_answer(site: Site) -> None:
    body = b"0123456789" * 200_000
    client = await asked(site, lambda r: r.respond(200, [], body))
    for _ in range(2):
        assert (await client.ask(GET))[2] == body


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body(site: Site, status: int) -> None:
    client = await asked(site, lambda r: r.respond(status, [], b"none"))
    for _ in range(2):
        await client.send(GET)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-length" not in head


async def test_head_gets_the_length_and_no_body(site: Site) -> None:
    client = await asked(site, lambda r: r.respond(200, [], b"hello"))
    for _ in range(2):
        await client.send(HEAD)
        assert b"content-length: 5\r\n" in await client.head()
    assert (await client.ask(GET))[2] == b"hello"


async def test_an_unknown_status(site: Site) -> None:
    client = await asked(site, lambda r: r.respond(299, [], b""))
    assert (await client.ask(GET))[0] == 299


def stream(length: int | None) -> Callable[[Request], None]:
    def answer(request: Request) -> None:
        request.begin(200, [(b"x-a", b"b")], length)
        for piece in (b"hello", b"", b" world"):
            request.write(piece)
        request.end()
        assert request.bytes_sent == (0 if request.head.method == "HEAD" else 11)

    return answer


async def test_chunked(site: Site) -> None:
    client = await asked(site, stream(None))
    for _ in range(2):
        await client.send(GET)
        assert b"transfer-encoding: chunked\r\n" in await client.head()
        assert await client.reader.readuntil(b"0\r\n\r\n") == b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


async def test_announced(site: Site) -> None:
    client = await asked(site, stream(11))
    for _ in range(2):
        assert (await client.ask(GET))[2] == b"hello world"


@pytest.mark.parametrize("length", [None, 11])
async def test_a_streamed_answer_to_head(site: Site, length: int | None) -> None:
    client = await asked(site, stream(length))
    for _ in range(2):
        await client.send(HEAD)
        assert await client.head()
    assert client.reader._buffer == b""


async def test_http_1_0_is_delimited_by_the_end(site: Site) -> None:
    client = await asked(site, stream(None))
    await client.send(OLD)
    head = await client.head()
    assert b"chunked" not in head
    assert b"connection: close\r\n" in head
    assert await client.rest() == b"hello world"


async def test_http_1_0_with_keep_alive(site: Site) -> None:
    client = await asked(site, lambda r: r.respond(200, [], b"hi"))
    for _ in range(3):
        status, head, _ = await client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (status, b"connection: keep-alive\r\n" in head) == (200, True)


async def test_the_head_waits_for_the_first_write(site: Site) -> None:
    go = asyncio.Event()

    async def handler(request: Request) -> None:
        request.begin(200, [], None)
        if request.head.path == "/now":
            request.flush_head()
        await go.wait()
        request.write(b"x")
        request.end()

    _, port = await site.serve(handler)
    late, now = await site.client(port), await site.client(port)
    await late.send(GET)
    await now.send(b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await now.head()
    assert late.reader._buffer == b""
    go.set()
    assert await late.head()


async def test_more_than_announced_is_an_error_and_breaks_the_answer(site: Site) -> None:
    def answer(request: Request) -> None:
        request.begin(200, [], 3)
        request.write(b"abcd")

    client = await asked(site, answer)
    await client.send(GET)
    assert await client.rest() == b""


async def test_less_than_announced_breaks_the_answer(site: Site) -> None:
    def answer(request: Request) -> None:
        request.begin(200, [], 5)
        request.write(b"abc")
        request.end()

    client = await asked(site, answer)
    await client.send(GET)
    await client.head()
    assert await client.rest() == b"abc"


@pytest.mark.parametrize("length", [None, 100])
async def test_an_aborted_answer_is_flushed_and_has_no_clean_end(site: Site, length: int | None) -> None:
    def answer(request: Request) -> None:
        request.begin(200, [], length)
        request.write(b"some")
        request.abort()

    client = await asked(site, answer)
    await client.send(GET)
    await client.head()
    assert await client.rest() == (b"4\r\nsome\r\n" if length is None else b"some")


async def test_an_aborted_answer_to_http_1_0_is_a_reset(site: Site) -> None:
    """Its clean end would be the end of the connection."""

    async def handler(request: Request) -> None:
        request.begin(200, [], None)
        request.write(b"some")
        await asyncio.sleep(0.02)
        request.abort()

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(OLD)
    await client.head()
    with pytest.raises(ConnectionResetError):
        while await client.reader.read(100):
            pass


async def test_only_one_answer(site: Site) -> None:
    def answer(request: Request) -> None:
        request.respond(200, [], b"first")
        with pytest.raises(RuntimeError):
            request.respond(200, [], b"second")
        with pytest.raises(RuntimeError):
            request.begin(200, [], None)

    client = await asked(site, answer)
    for _ in range(2):
        assert (await client.ask(GET))[2] == b"first"


async def test_a_header_cannot_break_out_of_its_line(site: Site) -> None:
    def answer(request: Request) -> None:
        with pytest.raises(ValueError, match="line break"):
            request.respond(200, [(b"x", b"a\r\n\r\nsmuggled")], b"")
        request.respond(200, [], b"fine")

    client = await asked(site, answer)
    assert (await client.ask(GET))[2] == b"fine"


async def test_interim_answers(site: Site) -> None:
    def answer(request: Request) -> None:
        request.inform(103, [(b"link", b"</x>")])
        request.respond(200, [], b"hi")

    client = await asked(site, answer)
    await client.send(GET)
    assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    assert (await client.answer())[2] == b"hi"
    old = await asked(site, answer)
    assert (await old.ask(OLD))[0] == 200


async def test_writing_to_a_client_who_left(site: Site) -> None:
    left = asyncio.Event()
    raised: list[type] = []

    async def handler(request: Request) -> None:
        request.begin(200, [], None)
        request.write(b"x")
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            try:
                request.write(b"y")
            except ClientGone:
                raised.append(ClientGone)
            left.set()
            raise

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(GET)
    await client.head()
    client.close()
    await asyncio.wait_for(left.wait(), 2)
    assert raised == [ClientGone]

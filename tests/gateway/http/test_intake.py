"""What the server lets in: smuggling, sizes, framing, pipelining."""

import asyncio

import pytest

from gateway.http.faults import BadRequest
from gateway.http.server import Request
from tests.gateway.http.peers import Site, eventually

H = b"POST /a HTTP/1.1\r\nHost: a\r\n"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"


async def echo(request: Request) -> None:
    body = await request.read(1_000_000)
    request.respond(200, [], f"{request.head.method} {request.head.path} ".encode() + body)


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", 1202),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 1202),
        (b"GET /a HTTP/1.1\r\nHost:\r\n\r\n", 1202),
        (H + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1203),
        (H + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 1203),
        (H + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 1203),
        (H + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 1203),
        (H + b"Content-Length: 3, 3\r\n\r\nabc", 1203),
        (H + b"Content-Length: +3\r\n\r\nabc", 1203),
        (H + b"Content-Length: 0x3\r\n\r\nabc", 1203),
        (H + b"Content-Length:\r\n\r\nabc", 1203),
        (H + b"Content-Length: 99999999999999999999999\r\n\r\nabc", 1203),
        (H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 1203),
        (H + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 1203),
        (H + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 1203),
        (H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 1203),
        (H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1203),
        (b"POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1203),
        (H + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 1204),
        (H + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 1204),
        (H + b"Transfer_Encoding: chunked\r\n\r\n", 1204),
        (H + b"X-A: b\r\n c\r\n\r\n", 1204),
        (H + b"X-A: b\rc\r\n\r\n", 1204),
        (H + b"X-A: b\nX-B: c\r\n\r\n", 1204),
        (H + b"X-A: b\x00c\r\n\r\n", 1204),
        (H + b"X-A: b\x01c\r\n\r\n", 1204),
        (H + b"X A: b\r\n\r\n", 1204),
        (H + b"X-A\r\n\r\n", 1204),
        (H + b": b\r\n\r\n", 1204),
        (H + b" X-A: b\r\n\r\n", 1204),
        (b"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", 1205),
        (b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n", 1205),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 1205),
        (b"GET /a\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 1205),
        (b"TRACE /a HTTP/1.1\r\nHost: a\r\n\r\n", 1207),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 1207),
        (b"GET /a HTTP/2.0\r\nHost: a\r\n\r\n", 1209),
        (b"GET /a HTTP/1.2\r\nHost: a\r\n\r\n", 1209),
        (b"GET /a\r\n\r\n", 1209),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1201),
        (b"GET /a HTTP/1.1\nHost: a\n\n", 1201),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1201),
        (b"get /a HTTP/1.1\r\nHost: a\r\n\r\n", 1201),
        (H + b"Expect: the unexpected\r\n\r\n", 1217),
    ],
)
async def test_refused_before_any_handler(site: Site, data: bytes, number: int) -> None:
    handled: list[Request] = []

    async def handler(request: Request) -> None:
        handled.append(request)
        await echo(request)

    _, port = await site.serve(handler)
    client = await site.client(port)
    status, _, body = await client.ask(data + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, body[:4]) == (400, b"%d" % number)
    assert await client.is_closed()
    assert not handled


@pytest.mark.parametrize(
    "data",
    [
        CHUNKED + b"x\r\n", CHUNKED + b"-1\r\n", CHUNKED + b"3\nabc\n", CHUNKED + b"3\r\nabcd\r\n",
        CHUNKED + b"3 \r\nabc\r\n", CHUNKED + b"0x3\r\nabc\r\n",
        CHUNKED + b"ffffffffffffffffff\r\n", CHUNKED + b"0\r\n\rX",
    ],
)  # fmt: skip
async def test_a_broken_body_reaches_its_reader(site: Site, data: bytes) -> None:
    faults: list[int] = []

    async def handler(request: Request) -> None:
        try:
            await request.read(1000)
        except BadRequest as fault:
            faults.append(fault.number)
            request.respond(400, [], b"no")

    _, port = await site.serve(handler)
    client = await site.client(port)
    status, head, _ = await client.ask(data)
    assert (status, b"connection: close" in head) == (400, True)
    assert len(faults) == 1
    assert await client.is_closed()


async def test_values_lose_the_space_around_them(site: Site) -> None:
    async def handler(request: Request) -> None:
        request.respond(200, [], b"|".join([request.head.get(b"x-a") or b"", request.head.get(b"x-b") or b""]))

    _, port = await site.serve(handler)
    client = await site.client(port)
    assert (await client.ask(b"GET / HTTP/1.1\r\nHost: a \r\nX-A: \t b c \t \r\nX-B:\r\n\r\n"))[2] == b"b c|"


async def test_one_byte_at_a_time(site: Site) -> None:
    _, port = await site.serve(echo)
    client = await site.client(port)
    for byte in CHUNKED + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n":
        await client.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert (await client.answer())[2] == b"POST /a abcde"
    assert (await client.ask(H + b"Content-Length: 2\r\n\r\nhi"))[2] == b"POST /a hi"


async def test_trailers_are_dropped(site: Site) -> None:
    seen: list[object] = []

    async def handler(request: Request) -> None:
        await request.read(10)
        seen.append(request.head.get(b"x-consumer-id"))
        await echo(request)

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.ask(CHUNKED + b"1\r\na\r\n0\r\nX-Consumer-ID: admin\r\n\r\n")
    assert seen == [None]


@pytest.mark.parametrize(
    "data",
    [
        H + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        H + b"X-A: " + b"a" * 40_000,
        H + b"".join(b"X-%d: a\r\n" % number for number in range(101)) + b"\r\n",
        H + b"X-A: b\r\n" * 10_000,
    ],
)
async def test_heads_that_are_too_large(site: Site, data: bytes) -> None:
    _, port = await site.serve(echo)
    client = await site.client(port)
    assert (await client.ask(data))[2].startswith(b"1206")
    assert await client.is_closed()


async def test_a_head_that_never_ends_is_refused_while_it_comes(site: Site) -> None:
    _, port = await site.serve(echo)
    client = await site.client(port)
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    for _ in range(40):
        await client.send(b"a" * 1000)
        await asyncio.sleep(0.001)
    assert (await client.answer())[2].startswith(b"1206")


async def test_a_large_head_within_the_limit_is_fine(site: Site) -> None:
    _, port = await site.serve(echo)
    client = await site.client(port)
    for _ in range(2):
        value = b"a" * 31_000
        assert (await client.ask(H + b"X-A: " + value + b"\r\nContent-Length: 40000\r\n\r\n" + b"b" * 40_000))[0] == 200


async def test_a_body_of_almost_only_framing_is_refused(site: Site) -> None:
    faults: list[int] = []

    async def handler(request: Request) -> None:
        try:
            await request.read(10_000_000)
        except BadRequest as fault:
            faults.append(fault.number)
            request.respond(400, [], b"no")

    _, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(CHUNKED)
    await asyncio.sleep(0.02)
    for _ in range(20):
        await client.send((b"1;" + b"x" * 500 + b"\r\na\r\n") * 20)
        await asyncio.sleep(0.001)
        if faults:
            break
    assert faults == [1203]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
async def test_an_upgrade_that_is_not_a_websocket_is_ignored(site: Site, framing: bytes) -> None:
    """java.net.http offers h2c on every cleartext POST; llhttp would skip the body."""
    _, port = await site.serve(echo)
    client = await site.client(port)
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
    for split in range(3):
        client = await site.client(port)
        data = H + offer + framing
        await client.send(data[: len(data) - split])
        await asyncio.sleep(0.01)
        await client.send(data[len(data) - split :])
        assert (await client.answer())[2] == b"POST /a abc"
        assert await client.is_closed()


async def test_an_ignored_upgrade_without_a_body_keeps_the_connection(site: Site) -> None:
    _, port = await site.serve(echo)
    client = await site.client(port)
    data = b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    await client.send(data % 1 + data % 2 + b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [(await client.answer())[2] for _ in range(3)] == [b"GET /1 ", b"GET /2 ", b"GET /3 "]


async def test_an_unread_body_holds_its_client_back(site: Site) -> None:
    gate = asyncio.Event()
    sizes: list[int] = []

    async def handler(request: Request) -> None:
        await gate.wait()
        sizes.append(len(await request.read(50_000_000)))
        request.respond(200, [], b"")

    server, port = await site.serve(handler)
    client = await site.client(port)
    size = 20_000_000
    sending = asyncio.ensure_future(client.send(H + b"Content-Length: %d\r\n\r\n" % size + b"x" * size))
    await eventually(lambda: server.connections and next(iter(server.connections))._read_paused)
    (connection,) = server.connections
    assert connection._arriving is not None
    assert connection._arriving.unread < 1_000_000
    gate.set()
    assert (await client.answer())[0] == 200
    assert sizes == [size]
    await sending

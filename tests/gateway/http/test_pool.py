import asyncio
import socket
import time

import pytest

from gateway.http.faults import ConnectFailed, ConnectTimeout, ResetBeforeResponse
from gateway.http.origin import Origin
from gateway.http.pool import ClientLimits, Pool
from tests.gateway.http.peers import OK, Site, Upstream, eventually, read_request, reset

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_request(reader)
        writer.write(OK)


async def exchange(site: Site, pool: Pool, upstream: Upstream) -> bytes:
    connection = pool.take(upstream.origin) or await site.connect(upstream, pool)
    connection.send(GET)
    await connection.response()
    body = connection.body()
    pool.give(connection)
    return body


async def test_connections_are_kept_and_the_newest_is_taken(site: Site) -> None:
    pool, upstream = site.pool(), await site.upstream(polite)
    for _ in range(5):
        assert await exchange(site, pool, upstream) == b"ok"
    assert (upstream.connections, pool.open, pool.idle) == (1, 1, 1)
    first = pool.take(upstream.origin)
    assert first is not None
    assert pool.take(upstream.origin) is None
    second = await site.connect(upstream, pool)
    pool.give(first)
    pool.give(second)
    assert pool.take(upstream.origin) is second


async def test_origins_do_not_share(site: Site) -> None:
    pool = site.pool()
    one, other = await site.upstream(polite), await site.upstream(polite)
    await exchange(site, pool, one)
    assert pool.take(other.origin) is None


async def test_idle_connections_are_bounded(site: Site) -> None:
    pool = site.pool(ClientLimits(idle_per_origin=2, idle_total=3))
    upstreams = [await site.upstream(polite) for _ in range(2)]
    held = [await site.connect(upstream, pool) for upstream in upstreams for _ in range(3)]
    for connection in held:
        pool.give(connection)
    assert pool.idle == 3
    await eventually(lambda: pool.open == 3)


async def test_idle_connections_grow_old(site: Site) -> None:
    pool, upstream = site.pool(ClientLimits(idle_timeout=0.1)), await site.upstream(polite)
    await exchange(site, pool, upstream)
    assert pool.idle == 1
    await eventually(lambda: not pool.idle and not pool.open, 1)


async def test_an_idle_connection_that_dies_is_not_taken(site: Site) -> None:
    pool, upstream = site.pool(), await site.upstream(polite)
    await exchange(site, pool, upstream)
    upstream.writers[0].close()
    await eventually(lambda: not pool.idle)
    assert pool.take(upstream.origin) is None


async def test_a_reused_connection_that_dies_tells_so(site: Site) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)
        reset(writer)

    pool, upstream = site.pool(), await site.upstream(script)
    await exchange(site, pool, upstream)
    connection = pool.take(upstream.origin)
    assert connection is not None
    connection.send(GET)
    with pytest.raises(ResetBeforeResponse) as failure:
        await connection.response()
    assert (connection.reused, failure.value.sent, failure.value.got) == (True, True, False)


async def test_a_connection_with_an_open_exchange_is_not_kept(site: Site) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    pool, upstream = site.pool(), await site.upstream(script)
    connection = await site.connect(upstream, pool)
    connection.send(GET)
    pool.give(connection)
    assert pool.idle == 0
    await eventually(lambda: not pool.open)


async def test_refused(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(ConnectFailed) as failure:
        await site.pool().connect(Origin("127.0.0.1", port), 2.0)
    assert (failure.value.kind, failure.value.sent) == ("refused", False)
    assert time.monotonic() - start < 1.5


async def test_a_black_hole_times_out(site: Site) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        address = sock.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        start = time.monotonic()
        with pytest.raises(ConnectTimeout) as failure:
            await site.pool().connect(Origin(*address), 0.3)
        assert time.monotonic() - start < 4
        assert not failure.value.sent
        for filler in fillers:
            filler.close()


async def test_addresses_are_tried_in_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream, pool = await site.upstream(polite), site.pool()

    async def resolve(host: str, port: int) -> list[tuple[str, int]]:
        return [("::1", port), ("127.0.0.1", port)]

    monkeypatch.setattr(pool._resolver, "resolve", resolve)
    connection = await pool.connect(Origin("two.example", upstream.port), 2.0)
    connection.send(GET)
    assert (await connection.response()).status == 200


async def test_ipv6_and_unix(site: Site, tmp_path: object) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await polite(reader, writer)
        finally:
            writer.close()  # Python 3.11.2 does not by itself

    pool = site.pool()
    six = await asyncio.start_server(serve, "::1", 0)
    unix = await asyncio.start_unix_server(serve, f"{tmp_path}/s")
    port = six.sockets[0].getsockname()[1]
    for url in (f"http://[::1]:{port}", f"http://localhost6:{port}", f"unix:{tmp_path}/s"):
        if "localhost6" in url:
            continue
        connection = await pool.connect(Origin.parse(url), 2.0)
        connection.send(GET)
        assert (await connection.response()).status == 200
        connection.close()
    for server in (six, unix):
        server.close()
        await server.wait_closed()
    with pytest.raises(ConnectFailed):
        await pool.connect(Origin.parse(f"unix:{tmp_path}/none"), 2.0)


async def test_closing_breaks_everything(site: Site) -> None:
    pool, upstream = site.pool(), await site.upstream(polite)
    await exchange(site, pool, upstream)
    await site.connect(upstream, pool)
    pool.close()
    await eventually(lambda: not pool.open)

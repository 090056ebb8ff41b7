"""Listeners, caps and the orderly end."""

import asyncio
import socket
from pathlib import Path

from gateway.http.server import DateLine, HttpServer, Request, ServerLimits
from tests.gateway.http.peers import Site, eventually, refuse

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def hello(request: Request) -> None:
    request.respond(200, [], b"hello " + request.peer.encode())


async def test_ipv6_and_unix(site: Site, tmp_path: Path) -> None:
    server, port = await site.serve(hello, host="::1")
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        server.listen(sock)
    reader, writer = await asyncio.open_connection("::1", port)
    writer.write(GET)
    assert (await reader.readuntil(b"::1")).endswith(b"hello ::1")
    writer.close()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(GET)
    assert (await reader.readuntil(b"hello ")).endswith(b"hello ")
    writer.close()
    server.stop_listening()
    assert path.exists()


async def test_connections_over_the_cap_are_told_so(site: Site) -> None:
    server, port = await site.serve(hello, ServerLimits(connections=2))
    held = [await site.client(port) for _ in range(2)]
    for client in held:
        assert (await client.ask(GET))[0] == 200
    extra = await site.client(port)
    assert (await extra.ask(GET))[2].startswith(b"1902")
    assert await extra.is_closed()
    extra.close()
    held[0].close()
    await eventually(lambda: len(server.connections) == 1)
    again = await site.client(port)
    assert (await again.ask(GET))[0] == 200


async def test_far_too_many_connections_are_dropped(site: Site) -> None:
    server, port = await site.serve(hello, ServerLimits(connections=1))
    clients = [await site.client(port) for _ in range(200)]
    await asyncio.sleep(0.05)
    assert len(server.connections) <= 1 + 64 + 1
    assert (await clients[0].ask(GET))[0] == 200


async def test_connections_per_client(site: Site) -> None:
    _, port = await site.serve(hello, ServerLimits(connections_per_client=1))
    first = await site.client(port)
    assert (await first.ask(GET))[0] == 200
    second = await site.client(port)
    assert (await second.ask(GET))[2].startswith(b"1902")


async def test_a_drain_loses_nothing(site: Site) -> None:
    gate, started = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        if request.head.path == "/slow":
            started.set()
            await gate.wait()
        request.respond(200, [], b"done")

    server, port = await site.serve(handler)
    idle, busy, late = [await site.client(port) for _ in range(3)]
    for client in (idle, late):
        assert b"connection: close" not in (await client.ask(GET))[1]
    await busy.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await started.wait()
    draining = asyncio.ensure_future(server.drain(0.2))
    await asyncio.sleep(0.05)
    assert b"connection: close" in (await late.ask(GET))[1]
    await draining
    assert await idle.is_closed()
    gate.set()
    status, head, _ = await busy.answer()
    assert (status, b"connection: close" in head) == (200, True)
    await asyncio.wait_for(server.wait_idle(), 2)


async def test_a_drain_without_connections_is_over_at_once(site: Site) -> None:
    server, port = await site.serve(hello)
    client = await site.client(port)
    await client.ask(GET)
    draining = asyncio.ensure_future(server.drain(5))
    await asyncio.sleep(0.1)
    assert not draining.done()
    await client.ask(GET)  # told to close, it leaves
    await asyncio.wait_for(draining, 1)


async def test_the_idle_are_dismissed_and_the_busy_are_not(site: Site) -> None:
    gate, started = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        started.set()
        await gate.wait()
        request.respond(200, [], b"done")

    server, port = await site.serve(handler)
    idle, busy = await site.client(port), await site.client(port)
    await busy.send(GET)
    await started.wait()
    server.dismiss()
    assert await idle.is_closed()
    gate.set()
    assert (await busy.answer())[0] == 200


async def test_a_head_that_has_begun_survives_the_drain(site: Site) -> None:
    server, port = await site.serve(hello)
    client = await site.client(port)
    await client.ask(GET)
    await client.send(GET[:10])
    await asyncio.sleep(0.02)
    await server.drain(0)
    assert (await client.ask(GET[10:]))[0] == 200


async def test_abort_all(site: Site) -> None:
    cancelled = asyncio.Event()

    async def handler(request: Request) -> None:
        request.begin(200, [], None)
        request.flush_head()
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()

    server, port = await site.serve(handler)
    client = await site.client(port)
    await client.send(GET)
    await client.head()
    server.abort_all()
    await asyncio.wait_for(cancelled.wait(), 1)
    assert await client.is_closed()
    await asyncio.wait_for(server.wait_idle(), 1)


async def test_a_shared_socket_keeps_its_queue_when_one_server_stops(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        first = HttpServer(site.loop, hello, ServerLimits(), site.sweeper, refuse)
        second = HttpServer(site.loop, hello, ServerLimits(), site.sweeper, refuse)
        site.servers += [first, second]
        first.listen(sock)
        second.listen(sock)
        port = sock.getsockname()[1]
        for _ in range(20):
            assert (await (await site.client(port)).ask(GET))[0] == 200
        first.stop_listening()
        await asyncio.sleep(0.02)
        before = len(first.connections)
        for _ in range(50):
            assert (await (await site.client(port)).ask(GET))[0] == 200
        assert len(first.connections) == before
        second.stop_listening()
        await asyncio.sleep(0.02)
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            pass  # still open, in the hands of the caller


async def test_the_date_goes_on() -> None:
    date = DateLine(asyncio.get_running_loop())
    assert date.line.startswith(b"date: ")
    assert date.line.endswith(b" GMT\r\n")
    assert 0 < date.deadline - asyncio.get_running_loop().time() <= 1.01
    date.line = b""
    date.expire()
    assert date.line

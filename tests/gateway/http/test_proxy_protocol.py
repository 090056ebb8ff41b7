"""The PROXY protocol: headers as bytes, and on real connections, with TLS behind them too."""

import asyncio
import socket
import ssl
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.proxy_protocol import Preface, parse_preface
from gateway.http.server import HttpServer, Request, ServerLimits
from gateway.http.tls import server_context
from gateway.networks import read_address
from tests.gateway.http.peers import RawClient, Site, eventually, refuse
from tests.gateway.http.test_tls import GET, Authority
from tests.gateway.http.test_tls import authority as authority

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 51000 443\r\n"


def v2(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


IPV4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 51000, 443)
IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack("!HH", 51000, 443)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.7") * 2 + struct.pack("!HH", 1, 2)
TLV = b"\x04\x00\x03abc"

GOOD = {
    V1: "192.0.2.7",
    b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n": "2001:db8::7",
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n": None,
    v2(0x21, 0x11, IPV4): "192.0.2.7",
    v2(0x21, 0x11, IPV4 + TLV): "192.0.2.7",
    v2(0x21, 0x21, IPV6): "2001:db8::7",
    v2(0x21, 0x21, MAPPED): "192.0.2.7",
    v2(0x21, 0x31, bytes(216)): "",
    v2(0x20, 0x00, b""): None,  # LOCAL: the proxy itself, a health check
    v2(0x20, 0x11, IPV4): None,
    v2(0x21, 0x00, TLV): None,
}
BAD = (
    GET, b"\x16\x03\x01\x02\x00", b"PROXY  TCP4\r\n", b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", b"PROXY TCP4 1.1.1.1\r\n",
    b"PROXY TCP4 ::1 ::1 1 2\r\n", b"PROXY TCP6 1.1.1.1 1.1.1.1 1 2\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", b"PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n", b"PROXY TCP4 " + b"1" * 120,
    b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", v2(0x22, 0x11, IPV4), v2(0x11, 0x11, IPV4), v2(0x21, 0x11, IPV4[:-1]),
    v2(0x21, 0x12, IPV4), v2(0x21, 0x41, IPV4), v2(0x21, 0x31, bytes(215)), v2(0x21, 0x11, IPV4 + bytes(5000)),
)  # fmt: skip


@pytest.mark.parametrize("header", GOOD)
def test_a_header_is_read_to_its_end_and_no_further(header: bytes) -> None:
    for size in range(len(header)):
        assert parse_preface(header[:size]) is None, size
    assert parse_preface(header) == parse_preface(header + GET) == Preface(len(header), GOOD[header])


@pytest.mark.parametrize("header", BAD)
def test_anything_else_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError):
        parse_preface(header)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_what_is_spoilt_is_refused_awaited_or_another_header(header: bytes, data: st.DataObject) -> None:
    spoilt = bytearray(header)
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse_preface(bytes(spoilt) + GET)
    except ValueError:
        return
    assert found is None or found.client in ("", None) or read_address(found.client) is not None


async def listen(site: Site, sock: socket.socket, context: ssl.SSLContext | None = None, per_client: int = 0) -> None:
    """A server that says who its client is."""

    async def handler(request: Request) -> None:
        request.respond(200, [], f"{request.scheme} {request.peer}".encode())

    server = HttpServer(
        site.loop, handler, ServerLimits(header_timeout=0.5, connections_per_client=per_client), site.sweeper, refuse
    )
    with sock:
        server.listen(sock, context, has_preface=True)
    site.servers.append(server)


async def listen_tcp(site: Site, context: ssl.SSLContext | None = None, per_client: int = 0) -> int:
    sock = socket.create_server(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    await listen(site, sock, context, per_client)
    return port


async def test_the_peer_is_the_one_whom_the_proxy_names(site: Site) -> None:
    port = await listen_tcp(site)
    for header, address in GOOD.items():
        client = await site.client(port)
        _, _, body = await client.ask(header + GET)
        assert body.decode() == f"http {'127.0.0.1' if address is None else address}"
        assert (await client.ask(GET))[2] == body, "one header a connection"


async def test_connections_are_counted_for_the_client_and_not_for_the_proxy(site: Site) -> None:
    port = await listen_tcp(site, per_client=1)
    first, second, other = [await site.client(port) for _ in range(3)]
    assert (await first.ask(V1 + GET))[0] == 200
    assert (await other.ask(v2(0x21, 0x21, IPV6) + GET))[0] == 200
    await second.send(V1)
    assert b"1902" in await second.rest()


async def test_a_header_in_pieces(site: Site) -> None:
    client = await site.client(await listen_tcp(site))
    for at in range(len(V1)):
        await client.send(V1[at : at + 1])
        await asyncio.sleep(0)
    assert (await client.ask(GET))[2] == b"http 192.0.2.7"


@pytest.mark.parametrize("header", [GET, BAD[4], b"PROXY TCP4 192.0.2.7"])
async def test_without_a_good_header_the_connection_ends_unanswered(site: Site, header: bytes) -> None:
    client = await site.client(await listen_tcp(site))
    await client.send(header)  # the last one is never finished: `header_timeout`
    assert await client.rest() == b""


async def test_a_client_that_leaves_inside_the_header(site: Site) -> None:
    port = await listen_tcp(site)
    client = await site.client(port)
    await client.send(V1[:9])
    client.close()
    assert (await (await site.client(port)).ask(V1 + GET))[0] == 200


async def test_on_a_unix_socket(site: Site, tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    await listen(site, sock)
    client = RawClient(*await asyncio.open_unix_connection(str(tmp_path / "s")))
    assert (await client.ask(V1 + GET))[2] == b"http 192.0.2.7"
    client.close()


@pytest.mark.parametrize("header", [V1, v2(0x21, 0x21, IPV6)])
async def test_before_tls_even_in_one_piece_with_it(site: Site, authority: Authority, header: bytes) -> None:
    port = await listen_tcp(site, server_context([authority.issue("a.test")]))
    trust = ssl.create_default_context(cafile=authority.file)
    body = await asyncio.to_thread(ask_over_tls, port, trust, header)
    assert body == b"https " + str(GOOD[header]).encode()


def ask_over_tls(port: int, trust: ssl.SSLContext, header: bytes) -> bytes:
    """The header and the first flight of the handshake in one segment."""
    inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trust.wrap_bio(inbox, outbox, server_hostname="a.test")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        waiting = header

        def step(act: object) -> object:
            nonlocal waiting
            while True:
                try:
                    result = act()  # type: ignore[operator]
                except ssl.SSLWantReadError:
                    sock.sendall(waiting + outbox.read())
                    waiting = b""
                    inbox.write(sock.recv(65_536))
                else:
                    sock.sendall(waiting + outbox.read())
                    return result

        step(tls.do_handshake)
        step(lambda: tls.write(GET))
        answer = step(lambda: tls.read(65_536))
        assert isinstance(answer, bytes)
        return answer.rpartition(b"\r\n\r\n")[2]


async def test_those_who_owe_their_header_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.listener._AWAITED", 2)
    port = await listen_tcp(site)
    silent = [await site.client(port) for _ in range(3)]
    ended = [asyncio.ensure_future(client.rest()) for client in silent]
    await eventually(lambda: sum(task.done() for task in ended) == 1)
    for task in ended:
        assert await task == b"", "the others end when their time is over"
    assert (await (await site.client(port)).ask(V1 + GET))[0] == 200

"""WebSockets: the same chain in front, then bytes both ways."""

import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.e2e.scene import GOOD, KEYS
from tests.e2e.wire import Line, bearer, encode, row_of
from tests.faults.origin import Origin
from tests.harness import Gateway, eventually

KEY = KEYS["second"]


def _open(site: Gateway, path: str = "/v1/echo/ws", **options: Any) -> ClientConnection:
    headers = {"Authorization": f"Bearer {KEY}", **options.pop("headers", {})}
    url = site.url.replace("http", "ws") + path
    given = {name: value for name, value in headers.items() if value}
    return connect(url, additional_headers=given, max_size=None, compression=None, **options)


def test_a_web_socket(site: Gateway) -> None:
    with _open(site, headers={"X-Request-ID": "a-socket"}, origin=GOOD) as socket:
        assert socket.response is not None
        assert socket.response.headers["X-Request-ID"] == "a-socket"
        assert socket.response.headers["X-Quota-Tier"] == "monthly"
        for message in ("hello", b"\0\1\2", "", "ü" * 70_000, b"x" * 1_000_000):
            socket.send(message)
            assert socket.recv() == message
        socket.ping().wait(2)
    row = row_of(site, "a-socket")
    assert (row["status"], row["outcome"], row["units"], row["route"]) == (101, "complete", 1000, "/v1/echo/ws")
    assert row["bytes_out"] > 1_000_000


@pytest.mark.parametrize(
    ("path", "headers", "web", "status", "number"),
    [
        ("/v1/echo/ws", {"Authorization": ""}, None, 401, 1001),
        ("/v1/echo/ws", {"Authorization": "Bearer unknown-key"}, None, 401, 1002),
        ("/v1/echo/ws", {"Authorization": f"Bearer {KEYS['paths']}"}, None, 403, 1102),
        ("/v1/echo/ws", {}, "https://evil.example", 403, 1103),
        ("/nothing", {}, None, 404, 1301),
    ],
)
def test_a_web_socket_that_is_refused(
    site: Gateway, path: str, headers: Any, web: Any, status: int, number: int
) -> None:
    with pytest.raises(InvalidStatus) as refused, _open(site, path, headers=headers, origin=web):
        pass
    response = refused.value.response
    assert (response.status_code, response.headers["X-Tollkeeper-Error"]) == (status, str(number))
    row = row_of(site, response.headers["X-Request-ID"])
    assert (row["outcome"], row["units"]) == ("turned_away" if number == 1301 else "refused", 0)


def test_a_web_socket_that_the_upstream_refuses(site: Gateway) -> None:
    with pytest.raises(InvalidStatus) as refused, _open(site, "/echo/x"):
        pass
    assert refused.value.response.status_code == 200
    with pytest.raises(InvalidStatus) as refused, _open(site, "/fault/early"):
        pass
    assert refused.value.response.status_code == 413


def _upgrade(line: Line) -> None:
    """The handshake of RFC 6455, 1.3, with a frame's worth of bytes right behind it."""
    nonce = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    line.send(encode("GET", "/fault/upgrade", {**bearer(KEY), **upgrade, **nonce})[0] + b"at once")
    received = b""
    while not received.endswith(b"at once"):
        received += line.socket.recv(1000)
    assert received.startswith(b"HTTP/1.1 101 ")
    assert b": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in received


def test_bytes_behind_the_handshake_are_not_lost(site: Gateway) -> None:
    with Line(site.address) as line:
        _upgrade(line)
        line.send(b"more")
        assert line.take(4) == b"more"


def test_a_web_socket_ends_with_either_side(site: Gateway, origin: Origin) -> None:
    began = time.monotonic()
    with Line(site.address) as line:
        _upgrade(line)

    def closed() -> bool:
        seen = [c for c in origin.connections() if "upgrade" in c.faults and c.opened >= began]
        return bool(seen) and all(c.closed for c in seen)

    eventually(closed, 1.0, "the upstream's side closed")
    with _open(site) as socket:
        socket.close()
        assert socket.close_code == 1000
    with pytest.raises(ConnectionClosed):
        socket.recv()

"""Clients that leave, and clients that do not read (F44, F45): what they cost."""

import json
import socket
import time
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from tests.e2e.scene import WRITE
from tests.e2e.wire import CHAT, Line, bearer, encode, row_of
from tests.faults.origin import Connection, Origin
from tests.harness import Gateway, eventually

FLOOD = 100_000_000  # bytes


@pytest.fixture
def gateway(hurried: Gateway) -> Gateway:
    return hurried


def _chat(gateway: Gateway, model: str = "origin", fault: str = "ok", **fields: Any) -> tuple[bytes, str]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
    return encode("POST", CHAT, bearer(gateway.key("monthly"), **{"X-Fault": fault}), body)


def _latest(origin: Origin, fault: str, since: float) -> Connection | None:
    """The connection on which the fault was asked for last."""
    found = [seen for seen in origin.connections() if fault in seen.faults and (seen.closed or since) >= since]
    return found[-1] if found else None


def _closed(origin: Origin, fault: str, since: float) -> float:
    def look() -> float | None:
        seen = _latest(origin, fault, since)
        return seen.closed if seen is not None else None

    return float(eventually(look, what=f"{fault} closed"))


# --- F44: a client leaves


@pytest.mark.parametrize(
    ("fault", "stream", "reads"),
    [
        ("hang", False, False),
        ("hang", True, False),
        ("slow; delay=9", False, False),
        ("sse-idle", True, True),
        ("sse-fast; interval=0.001", True, True),
    ],
)
@pytest.mark.parametrize("way", ["close", "half-close", "reset"])
def test_f44_the_upstream_is_let_go_at_once(
    gateway: Gateway, origin: Origin, fault: str, stream: bool, reads: bool, way: str
) -> None:
    name, began = fault.split(";")[0], time.monotonic()
    with Line(gateway.address) as line:
        data, request_id = _chat(gateway, fault=fault, stream=stream)
        line.send(data)
        eventually(lambda: _latest(origin, name, began), what="the request upstream")
        if reads:
            assert b"200 OK" in line.socket.recv(1000)
        left = time.monotonic()
        _leave(line.socket, way)
        assert _closed(origin, name, began) - left < 1
    row = row_of(gateway, request_id)
    assert (row["outcome"], row["cancel"], row["units"]) == ("left", "client", 1000)
    assert row["status"] == (200 if reads else 499)
    assert (row["tokens_source"], row["tokens_in"] > 0, row["tokens_out"] > 0) == ("estimated", True, reads)


def _leave(sock: socket.socket, way: str) -> None:
    if way == "half-close":
        sock.shutdown(socket.SHUT_WR)
        return
    if way == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def test_f44_a_client_that_leaves_while_it_uploads(gateway: Gateway, origin: Origin) -> None:
    began = time.monotonic()
    with Line(gateway.address) as line:
        upload = bearer(gateway.key("monthly"), **{"Transfer-Encoding": "chunked"})
        data, passed_on = encode("POST", "/plain/hang", upload)
        line.send(data + b"5\r\nhello\r\n")
        time.sleep(0.1)
        left = time.monotonic()
    row = row_of(gateway, passed_on)
    assert (row["outcome"], row["units"], row["finished"] - row["started"] < 1_000_000) == ("left", 1000, True)
    assert time.monotonic() - left < 5
    assert _latest(origin, "hang", began) is None  # what it did not get wholly, the origin does not call a request
    with Line(gateway.address) as line:
        data, held = _chat(gateway)
        line.send(data[:-10])
        time.sleep(0.1)
    row = row_of(gateway, held)
    assert (row["outcome"], row["units"], row["backend"]) == ("left_waiting", 0, "")


@pytest.mark.parametrize(("path", "outcome", "units"), [("/plain/hang", "left", 1000), (CHAT, "refused", 0)])
@pytest.mark.parametrize(("rest", "status", "number"), [(b"zz\r\n", 400, 1201), (b"", 408, 1804)])
def test_an_upload_that_goes_wrong(
    gateway: Gateway, path: str, outcome: str, units: int, rest: bytes, status: int, number: int
) -> None:
    with Line(gateway.address) as line:
        data, name = encode("POST", path, bearer(gateway.key("monthly"), **{"Transfer-Encoding": "chunked"}))
        line.send(data + b"5\r\nhello\r\n")
        time.sleep(0.1)
        line.send(rest)
        answer = line.read("POST")
    assert (answer.status, answer.error, answer.get("connection")) == (status, number, "close")
    row = row_of(gateway, name)
    assert (row["outcome"], row["units"], row["error"]) == (outcome, units, number)


def test_f44_a_slot_is_free_again(gateway: Gateway) -> None:
    with Line(gateway.address) as first, Line(gateway.address) as second:
        data, working = _chat(gateway, "single", echo={"delay": 30})
        first.send(data)
        eventually(lambda: gateway.metrics().get('tollkeeper_inflight{backend="single"}') == 1)
        data, queued = _chat(gateway, "single")
        second.send(data)
        eventually(lambda: any(v == 1 for k, v in gateway.metrics().items() if "queue_depth" in k and "single" in k))
        second.socket.close()
        row = row_of(gateway, queued)
        assert (row["outcome"], row["units"], row["tokens_source"]) == ("left_waiting", 0, "none")
    row = row_of(gateway, working)
    assert (row["outcome"], row["units"]) == ("left", 1000)
    with Line(gateway.address) as line:
        line.send(_chat(gateway, "single")[0])
        answer = line.read()
    assert (answer.status, answer.seconds < 5) == (200, True)


# --- F45: a client that does not read


def test_f45_a_client_that_does_not_read_is_cut_off(gateway: Gateway, origin: Origin) -> None:
    process, began = psutil.Process(gateway.workers()[0]), time.monotonic()
    before = process.memory_info().rss
    with ExitStack() as stack:
        names = []
        for _ in range(4):
            line = stack.enter_context(Line(gateway.address, receive=4096))
            data, name = encode("GET", f"/plain/flood?size={FLOOD}", bearer(gateway.key("monthly")))
            line.send(data)
            names.append(name)
        grown = []
        while (seen := _latest(origin, "flood", began)) is None or seen.closed is None:
            grown.append(process.memory_info().rss - before)
            assert time.monotonic() - began < WRITE + 2
            time.sleep(0.05)
        assert max(grown) < 4 * 4 * 2**20
        assert WRITE <= seen.closed - began < WRITE + 0.75
        rows = [row_of(gateway, name) for name in names]
    for row in rows:
        assert (row["outcome"], row["error"], row["units"]) == ("left", 1809, 1000)
        assert row["bytes_out"] < 8 * 2**20


def test_f45_a_slow_reader_gets_everything(gateway: Gateway) -> None:
    with Line(gateway.address, receive=65_536) as line:
        line.send(encode("GET", "/plain/flood?size=8000000", bearer(gateway.key("monthly")))[0])
        received = 0
        while received < 8_000_000 and (data := line.socket.recv(200_000)):
            received += len(data)
            time.sleep(0.02)
    assert received > 8_000_000

"""Clients that leave, dawdle, crowd and pipeline (F44-F49): what they cost, and what others notice."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from tests.e2e.wire import CHAT, Line, ask, bearer, encode, row_of
from tests.faults.origin import Connection, Origin
from tests.harness import Gateway, config, eventually, running_gateway

HEADER, BODY, WRITE = 1.0, 1.0, 1.5  # seconds
CAP = 600  # connections
FLOOD = 100_000_000  # bytes


@pytest.fixture(scope="module")
def gateway(origin: Origin) -> Iterator[Gateway]:
    document = config(
        timeouts={"header": HEADER, "body": BODY, "write": WRITE},
        limits={"connections": CAP, "body_rate": "100KB"},
        backends={
            "origin": {"http": {"endpoints": [{"url": origin.url}]}},
            "echo": {"echo": {}, "slots": 256},
            "single": {"echo": {}, "slots": 1},
        },
        models={name: {"backend": name} for name in ("origin", "echo", "single")},
        routes=[
            {"path": CHAT},
            {"path": "/plain/*", "to": "origin", "strip": "/plain"},
            {"path": "/echo", "to": "echo"},
        ],
    )
    with running_gateway(document) as gateway:
        yield gateway


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
        assert _closed(origin, name, began) - left < 0.1
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
    assert (answer.status, answer.seconds < 1) == (200, True)


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


# --- F46: a client that dribbles


def test_f46_slow_heads_and_bodies_hurt_only_themselves(gateway: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {gateway.key('open')}\r\n".encode()
    with ExitStack() as stack:
        heads = [stack.enter_context(Line(gateway.address)) for _ in range(150)]
        bodies = [stack.enter_context(Line(gateway.address)) for _ in range(150)]
        for line in heads:
            line.send(head + b"X-A: ")
        for line in bodies:
            line.send(head + b"Content-Length: 500000\r\n\r\n{")
        began, stop = time.monotonic(), threading.Event()
        dribble = threading.Thread(target=_dribble, args=(heads[:75] + bodies[:75], stop))
        dribble.start()
        probes = []
        while time.monotonic() - began < 1.2:
            probes.append(ask(gateway, "GET", "/echo", bearer(gateway.key("open"))))
        stop.set()
        dribble.join()
        answers = [line.read() for line in heads + bodies]
    assert {probe.status for probe in probes} == {200}
    assert max(probe.seconds for probe in probes) < 0.5
    assert {(answer.status, answer.error) for answer in answers[:150]} == {(408, 1803)}
    assert {(answer.status, answer.error) for answer in answers[150:]} == {(408, 1804)}
    assert {answer.get("connection") for answer in answers} == {"close"}


def _dribble(lines: list[Line], stop: threading.Event) -> None:
    """A byte now and then, so that there is never a silence."""
    while not stop.wait(0.3):
        for line in lines:
            try:
                line.send(b"a")
            except OSError:
                pass


# --- F47-F49: many clients


def test_f47_connections_over_the_cap_are_told(gateway: Gateway) -> None:
    def probe() -> tuple[int, int]:
        with Line(gateway.address) as line:
            answer = line.ask("GET", "/echo", bearer(gateway.key("open")))
            return answer.status, 0 if answer.status == 200 else answer.error

    with ExitStack() as stack:
        lines = [stack.enter_context(Line(gateway.address)) for _ in range(CAP)]
        assert lines[0].ask("GET", "/echo", bearer(gateway.key("open"))).status == 200
        eventually(lambda: probe() == (503, 1902), what="a refusal")
        assert lines[-1].ask("GET", "/echo", bearer(gateway.key("open"))).status == 200
    eventually(lambda: probe() == (200, 0), what="free again")
    assert "Too many open files" not in gateway.log


def test_f48_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    key = gateway.key("open")
    for batch in range(10):
        with Line(gateway.address) as line, line.socket.makefile("rb") as answers:
            data = b"".join(encode("POST", f"/echo?n={batch}.{n}", bearer(key), b"b%d" % n)[0] for n in range(100))
            sender = threading.Thread(target=line.send, args=(data,))
            sender.start()
            for n in range(100):
                answer = _read_framed(answers)
                assert (answer["query"], answer["body"]) == (f"n={batch}.{n}", f"b{n}")
            sender.join()


def _read_framed(stream: Any) -> Any:
    """One answer with a Content-Length off a pipelined stream."""
    assert stream.readline().split()[1] == b"200"
    length = 0
    while (line := stream.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return json.loads(stream.read(length))


async def test_f49_a_herd_that_comes_back_at_once_is_served(gateway: Gateway) -> None:
    address, key, (worker,) = gateway.address, gateway.key("open"), gateway.workers()
    request = f"GET /echo HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\n\r\n".encode()

    async def visit(gone: asyncio.Event) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request)
        first = await reader.readuntil(b"\r\n\r\n")
        here.append(writer)
        await gone.wait()
        writer.close()
        return first

    here: list[Any] = []
    gone = asyncio.Event()
    herd = [asyncio.ensure_future(visit(gone)) for _ in range(300)]
    await asyncio.to_thread(eventually, lambda: len(here) == 300, 10.0)
    os.kill(worker, signal.SIGKILL)
    gone.set()
    await asyncio.gather(*herd)
    here.clear()
    back = [await done for done in [asyncio.ensure_future(visit(gone)) for _ in range(300)]]
    assert all(head.startswith(b"HTTP/1.1 200") for head in back)

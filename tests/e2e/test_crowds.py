"""Clients that dribble, crowd, pipeline and come back all at once (F46-F49): what others notice."""

import asyncio
import json
import os
import signal
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.scene import CAP
from tests.e2e.wire import CHAT, Line, ask, bearer, encode
from tests.harness import Gateway, eventually


@pytest.fixture
def gateway(hurried: Gateway) -> Gateway:
    return hurried


# --- F46: a client that dribbles


def test_f46_slow_heads_and_bodies_hurt_only_themselves(gateway: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {gateway.key('open')}\r\n".encode()
    address = gateway.address
    with ExitStack() as stack:
        heads = [stack.enter_context(Line(address)) for _ in range(150)]
        bodies = [stack.enter_context(Line(address)) for _ in range(150)]
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
    assert max(probe.seconds for probe in probes) < 2, "milliseconds on a quiet machine"
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
    address = gateway.address  # each look asks the gateway: 600 of them take longer than a head may

    def probe() -> tuple[int, int]:
        with Line(address) as line:
            answer = line.ask("GET", "/echo", bearer(gateway.key("open")))
            return answer.status, 0 if answer.status == 200 else answer.error

    with ExitStack() as stack:
        lines = [stack.enter_context(Line(address)) for _ in range(CAP)]
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

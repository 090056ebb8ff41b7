"""`tollkeeper trace`: a request as a waterfall whose parts add up, by any of its names, of the gateway or the store."""

import io
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gateway.cli.trace import draw, split
from tests.harness import COMMAND, Gateway, config, eventually, running_gateway

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_gateway(config()) as running:
        yield running


def trace(gateway: Gateway, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, "trace", *words, "--config", str(gateway.file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def call(gateway: Gateway, model: str, **headers: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    own = {"Authorization": f"Bearer {gateway.key('free')}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers={**own, **headers})


def ask(gateway: Gateway, **headers: str) -> str:
    """The id of a request, which the store has by the time that this returns."""
    answer = call(gateway, "echo", **headers)
    name = answer.headers["X-Request-ID"]
    eventually(lambda: trace(gateway, name).returncode == 0, 20)
    return str(name)


def test_a_request_is_found_by_any_of_its_names(gateway: Gateway) -> None:
    name = ask(gateway, **{"X-Request-ID": "invoice-7", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    assert name == "invoice-7"
    found = json.loads(trace(gateway, name, "--json").stdout)
    assert found["request_id"] == "invoice-7" and found["trace_id"] == TRACE and found["id"] != name
    for other in (found["id"], TRACE):
        assert json.loads(trace(gateway, other, "--json").stdout)["id"] == found["id"]


def test_the_waterfall_names_the_parts_and_what_was_used(gateway: Gateway) -> None:
    told = trace(gateway, ask(gateway)).stdout
    assert "success  200  POST /v1/chat/completions" in told
    assert "model, first byte" in told and "█" in told and "gateway" in told
    assert "consumer demo-free" in told and "backend echo" in told and "1 units" in told


def test_an_error_tells_what_helps(gateway: Gateway) -> None:
    answer = call(gateway, "nobody")
    name = answer.headers["X-Request-ID"]
    eventually(lambda: trace(gateway, name).returncode == 0, 20)
    told = trace(gateway, name).stdout
    assert "error  404" in told and "1302 model_not_found" in told and "what helps:" in told


def test_what_nobody_asked_is_not_found(gateway: Gateway) -> None:
    done = trace(gateway, "no-such-request")
    assert done.returncode == 1 and "no request is known as no-such-request" in done.stderr


def test_without_a_gateway_the_store_is_asked() -> None:
    with running_gateway(config()) as gateway:
        name = ask(gateway)
        gateway.stop()
        assert "success  200" in trace(gateway, name).stdout


milliseconds = st.floats(0, 1e7) | st.just(0.0)


@given(milliseconds, st.tuples(*[milliseconds] * 5))
def test_the_parts_are_the_whole(total: float, parts: tuple[float, ...]) -> None:
    """However the clocks of the parts disagree, they lie one behind the other and end where the request ends."""
    names = ("overhead_ms", "queue_ms", "load_ms", "connect_ms", "decode_ms")
    drawn = split({"duration_ms": total, **dict(zip(names, parts, strict=True))})
    at = 0.0
    for _, _, start, length in drawn:
        assert start == pytest.approx(at) and length > 0
        at += length
    assert at == pytest.approx(total)


def test_a_request_that_goes_on_has_no_waterfall(gateway: Gateway) -> None:
    found: dict[str, Any] = json.loads(trace(gateway, ask(gateway), "--json").stdout)
    found |= {"duration_ms": None, "status": "pending", "outcome": "pending"}
    console = Console(file=io.StringIO(), width=80)
    for part in draw(found):
        console.print(part)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "still running" in told and "█" not in told

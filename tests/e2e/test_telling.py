"""What one request leaves behind: its row, what was said, a line on stdout, spans at a collector. All say the same."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.gateway.control.otel.receiver import Receiver, attributes, receiving
from tests.harness import Gateway, config, eventually, running_gateway

TRACE, PARENT = "12345678901234567890123456789012", "1234567890123456"
SECRET = "sk-abcdef0123456789"
WITHIN = 60.0  # seconds


@contextmanager
def collecting() -> Iterator[Receiver]:
    """A collector on a thread of its own."""
    started, stop = threading.Event(), threading.Event()
    found: list[Receiver] = []

    async def serve() -> None:
        async with receiving() as receiver:
            found.append(receiver)
            started.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(WITHIN)
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def telling(collector: Receiver) -> Iterator[Gateway]:
    document = config(
        log={"requests": True},
        trace={"environment": "staging"},
        otel={"endpoint": collector.url, "metrics": True},
        models={"echo": {"backend": "echo", "price": {"input": 1, "output": 2}}},
        routes=[
            {"path": "/v1/chat/completions", "content": True},
            {"path": "/v1/completions"},
            {"path": "/echo", "to": "echo"},
        ],
    )
    with running_gateway(document) as gateway:
        yield gateway


def ask(gateway: Gateway, path: str, body: Any, name: str, **headers: str) -> bytes:
    sent = {"Authorization": f"Bearer {gateway.key('open')}", "X-Request-ID": name, "Content-Type": "application/json"}
    sent |= {header.replace("_", "-"): value for header, value in headers.items()}
    request = urllib.request.Request(f"{gateway.url}{path}", json.dumps(body).encode(), sent)
    with urllib.request.urlopen(request, timeout=WITHIN) as answer:
        return bytes(answer.read())


def find_row(gateway: Gateway, name: str) -> Any:
    asked = "SELECT * FROM requests WHERE request_id = ?"
    return eventually(lambda: gateway.query(asked, name), WITHIN, "the row")[0]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_a_model(telling: Gateway, collector: Receiver, stream: bool) -> None:
    name = f"call-{stream}"
    said = {"model": "echo", "stream": stream, "user": "jo", "messages": [{"role": "user", "content": f"hi {SECRET}"}]}
    answer = ask(
        telling, "/v1/chat/completions", said, name, traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=1",
        x_session_id="s-1", x_tollkeeper_tags="b, a",
    )  # fmt: skip
    assert answer
    row = find_row(telling, name)
    assert (row["operation"], row["provider"], row["finish"]) == ("chat", "echo", "stop")
    assert (row["session"], row["user"], row["tags"]) == ("s-1", "jo", "a,b")
    assert (row["trace"], row["parent"], row["span"]) == (TRACE, PARENT, row["id"][-16:])

    (content,) = telling.query("SELECT * FROM contents WHERE id = ?", row["id"])
    assert content["input"] == "user: hi sk-…" and content["output"] and SECRET not in content["output"]

    printed = eventually(lambda: line_of(telling, row["id"]), WITHIN, "a line")
    for pair in ("operation=chat", "provider=echo", "finish=stop", "session=s-1", "user=jo", "tags=a,b",
                 f"trace={TRACE}", f"span={row['span']}"):  # fmt: skip
        assert f" {pair}" in printed
    assert "hi" not in printed.split()

    eventually(lambda: spans_of(collector, row["id"]), WITHIN, "spans")
    spans = {span.name: span for span in collector.spans if span.trace_id.hex() == TRACE}
    outer = spans_of(collector, row["id"])[0]
    assert outer.name == "POST /v1/chat/completions" and outer.parent_span_id.hex() == PARENT
    (call,) = [span for span in collector.spans if span.parent_span_id == outer.span_id and span.name == "chat echo"]
    assert call.span_id.hex() == row["span"]
    told = attributes(call.attributes)
    assert told["gen_ai.usage.input_tokens"] == row["tokens_in"] and told["gen_ai.provider.name"] == "echo"
    assert told["gen_ai.response.finish_reasons"] == ["stop"] and spans
    assert SECRET not in telling.log and "sk-…" not in str(collector.traces)


def test_what_the_upstream_is_told(telling: Gateway) -> None:
    """It gets our span as its parent, the caller's state, and neither tags nor anything else that is for us."""
    answer = ask(telling, "/echo", {"a": 1}, "up", traceparent=f"00-{TRACE}-{PARENT}-00", tracestate="a=1, b=2",
                 x_tollkeeper_tags="t")  # fmt: skip
    row = find_row(telling, "up")
    seen = {name.lower(): value for name, value in json.loads(answer)["headers"]}
    assert seen["traceparent"] == f"00-{TRACE}-{row['span']}-00"
    assert seen["tracestate"] == "a=1,b=2" and "x-tollkeeper-tags" not in seen
    assert (row["operation"], row["provider"], row["tags"], row["finish"]) == ("", "echo", "t", "")


def test_a_trace_that_begins_here_has_the_id_of_the_request(telling: Gateway) -> None:
    answer = ask(telling, "/echo", {"a": 1}, "begun", traceparent="00-zz-zz-01", tracestate="a=1")
    row = find_row(telling, "begun")
    assert (row["trace"], row["span"], row["parent"]) == (row["id"], row["id"][-16:], "")
    seen = {name.lower(): value for name, value in json.loads(answer)["headers"]}
    assert seen["traceparent"] == f"00-{row['id']}-{row['span']}-03" and "tracestate" not in seen


def test_a_route_that_keeps_nothing(telling: Gateway) -> None:
    ask(telling, "/v1/completions", {"model": "echo", "prompt": "unheard of"}, "silent")
    row = find_row(telling, "silent")
    assert row["operation"] == "completions"
    assert telling.query("SELECT * FROM contents WHERE id = ?", row["id"]) == []
    assert b"unheard of" not in b"".join(path.read_bytes() for path in telling.state.rglob("*.jsonl"))


def test_it_is_counted_what_was_told(telling: Gateway, collector: Receiver) -> None:
    ask(telling, "/echo", {"a": 1}, "counted")
    row = find_row(telling, "counted")
    eventually(lambda: spans_of(collector, row["id"]), WITHIN, "spans")
    sent = 'tollkeeper_otel_traces_total{result="sent"}'
    eventually(lambda: telling.metrics().get(sent, 0) > 0, WITHIN, "the metric")


def line_of(gateway: Gateway, id: str) -> str:
    lines = (gateway.folder / "out.txt").read_text().splitlines()
    return next((line for line in lines if f"request={id}" in line), "")


def spans_of(collector: Receiver, id: str) -> list[Any]:
    return [span for span in list(collector.spans) if attributes(span.attributes).get("tollkeeper.id") == id]

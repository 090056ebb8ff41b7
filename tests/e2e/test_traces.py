"""Traces of a running gateway as its clients get them: lists, live, files, feedback."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.e2e.wire import CHAT
from tests.harness import Gateway, config, eventually, running_gateway

PATIENCE = 30.0  # seconds


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_gateway(config()) as gateway:
        yield gateway


def ask(gateway: Gateway, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    with contextlib.closing(http.client.HTTPConnection(*gateway.address, timeout=PATIENCE)) as line:
        headers = {"Authorization": f"Bearer {gateway.key('open')}", "Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        line.request(method, path, None if body is None else json.dumps(body), headers)
        answer = line.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if "json" in str(answer.getheader("Content-Type")) else content


def chat(gateway: Gateway, session: str, stream: bool = False) -> None:
    said = {"model": "echo", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    assert ask(gateway, "POST", CHAT, said, X_Session_ID=session)[0] == 200


def find(gateway: Gateway, query: str, count: int) -> list[dict[str, Any]]:
    def found() -> Any:
        status, body = ask(gateway, "GET", f"/api/v1/traces?{query}")
        assert status == 200, body
        return body["data"] if len(body["data"]) == count else None

    rows: list[dict[str, Any]] = eventually(found, PATIENCE, query)
    return rows


def test_a_call_is_found_a_moment_later(gateway: Gateway) -> None:
    chat(gateway, "s1")
    chat(gateway, "s1", stream=True)
    streamed, plain = find(gateway, "session_id=s1&operation_type=chat&status=success&from=1h", 2)
    assert (streamed["stream"], plain["stream"]) == (True, False)
    assert plain["model"] == plain["model_asked"] == "echo"
    assert plain["total_tokens"] > 0
    parts = [plain[f"{part}_ms"] or 0 for part in ("queue", "load", "connect", "decode", "overhead")]
    assert 0 <= sum(parts) <= plain["duration_ms"] * 1.05 + 1
    status, one = ask(gateway, "GET", f"/api/v1/traces/{plain['id']}")
    assert (status, one["data"]["id"], one["data"]["feedback"]) == (200, plain["id"], [])
    said = {"score": 0.5, "label": "helpful", "comment": "so so"}
    assert ask(gateway, "POST", f"/api/v1/traces/{plain['id']}/feedback", said)[0] == 201
    feedback = ask(gateway, "GET", f"/api/v1/traces/{plain['id']}")[1]["data"]["feedback"]
    assert [(one["score"], one["label"], one["comment"]) for one in feedback] == [(0.5, "helpful", "so so")]
    search = {"filter": {"and": [{"field": "session_id", "value": "s1"}, {"field": "stream", "value": True}]}}
    assert [row["id"] for row in ask(gateway, "POST", "/api/v1/traces/search", search)[1]["data"]] == [streamed["id"]]


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_files(gateway: Gateway, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    chat(gateway, f"file-{format}")
    find(gateway, f"session_id=file-{format}", 1)
    status, content = ask(gateway, "GET", f"/api/v1/export/{format}?session_id=file-{format}")
    assert status == 200
    assert f"file-{format}".encode() in (content if isinstance(content, bytes) else json.dumps(content).encode())


def test_live_as_events(gateway: Gateway) -> None:
    with contextlib.closing(http.client.HTTPConnection(*gateway.address, timeout=PATIENCE)) as line:
        headers = {"Authorization": f"Bearer {gateway.key('open')}"}
        line.request("GET", "/api/v1/traces/tail?session_id=live&fields=id,session_id", headers=headers)
        answer = line.getresponse()
        assert (answer.status, answer.getheader("Content-Type")) == (200, "text/event-stream")
        assert answer.readline().startswith(b":")
        chat(gateway, "other")
        chat(gateway, "live")
        id = event = ""
        while not event.startswith("data: "):
            event = answer.readline().decode()
            id = event if event.startswith("id: ") else id
    assert json.loads(event[6:])["session_id"] == "live"
    assert id


def test_live_over_a_websocket(gateway: Gateway) -> None:
    address = "ws://{}:{}/api/v1/traces/tail?session_id=socket".format(*gateway.address)
    with connect(address, additional_headers={"Authorization": f"Bearer {gateway.key('open')}"}) as socket:
        deadline = time.monotonic() + PATIENCE
        while True:  # it may have been connected before it was among the readers
            chat(gateway, "socket")
            with contextlib.suppress(TimeoutError):
                event = json.loads(socket.recv(timeout=1.0))
                break
            assert time.monotonic() < deadline
    assert (event["event"], event["data"]["session_id"]) == ("trace", "socket")

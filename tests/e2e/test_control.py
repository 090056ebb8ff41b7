"""Control's API through the proxy: behind the same gate as a model, with every plugin that there is in the chain."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.e2e.wire import CHAT, Answer, Line, ask, bearer, row_of
from tests.harness import Document, Gateway, config, eventually, running_gateway

KEY = "the-key-of-ann"
TRACES = "/api/v1/traces"
PLUGINS: list[Document] = [
    {"cors": {"origins": ["https://app.example"]}},
    {"field_select": {}},
    {"key_auth": {}},
    {"acl": {}},
    {"ip_restriction": {"allow": ["127.0.0.0/8"]}},
    {"size_limit": {"body": "1MB", "query": "4KB"}},
    {"validate": {"unknown": "refuse", "tiers": {"open": {"prompt": 100, "max_tokens": 10}}}},
    {"request_transform": {"headers": {"set": {"x-customer": "{consumer}"}}}},
    {"response_transform": {"headers": {"set": {"x-served-for": "{consumer}"}}}},
    {"http_cache": {"ttl": "60s", "store": True}},
    {"response_cache": {"ttl": "10m"}},
    {"quota": {}},
]


def document() -> Document:
    key = {"sha256": hashlib.sha256(KEY.encode()).hexdigest()}
    return config(
        demo=False,
        tiers={"open": {"rate": "1/day", "burst": 3, "tokens": "1000/day", "monthly_tokens": 1000, "monthly": 3}},
        roles={"developer": {"may": ["infer", "traces:*"]}},
        consumers={"ann": {"tier": "open", "role": "developer", "project": "red", "keys": [key]}},
        plugins=PLUGINS,
    )


@pytest.fixture(scope="module")
def site() -> Iterator[Gateway]:
    with running_gateway(document()) as gateway:
        assert call_model(gateway).status == 200
        eventually(lambda: traces(gateway), 60.0, "a trace")
        yield gateway


def call_model(gateway: Gateway) -> Answer:
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    return ask(gateway, "POST", CHAT, bearer(KEY), json.dumps(body).encode())


def traces(gateway: Gateway) -> list[dict[str, Any]]:
    """The rows of model calls."""
    rows: list[dict[str, Any]] = ask(gateway, "GET", f"{TRACES}?limit=1000", bearer(KEY)).json["data"]
    return [row for row in rows if row["model"]]


def test_it_costs_nothing_however_often_it_is_asked(site: Gateway) -> None:
    """The tier lets three requests through in a day, and a thousand tokens."""
    for _ in range(10):
        answer = ask(site, "GET", TRACES, bearer(KEY))
        assert answer.status == 200
    row = row_of(site, answer.request_id)
    assert (row["units"], row["tokens_in"], row["operation"], row["backend"]) == (0, 0, "", "control")
    assert (row["consumer"], row["project"], row["role"]) == ("ann", "red", "developer")


def test_an_answer_that_the_client_has_is_not_sent_again(site: Gateway) -> None:
    id = traces(site)[0]["id"]
    first = ask(site, "GET", f"{TRACES}/{id}", bearer(KEY))
    tag = first.get("etag")
    assert tag is not None and tag.startswith('"')
    again = ask(site, "GET", f"{TRACES}/{id}", bearer(KEY, **{"If-None-Match": tag}))
    assert (again.status, again.body) == (304, b"")
    head = ask(site, "HEAD", f"{TRACES}/{id}", bearer(KEY))
    assert (head.status, head.body, head.get("etag")) == (200, b"", tag)


def test_fields_queries_and_bodies_go_through(site: Gateway) -> None:
    answer = ask(site, "GET", f"{TRACES}?fields=id,model&model=echo&limit=1", bearer(KEY))
    assert [set(row) for row in answer.json["data"]] == [{"id", "model"}]
    tree = {"filter": {"field": "model", "op": "eq", "value": "echo"}}
    found = ask(site, "POST", f"{TRACES}/search", bearer(KEY), json.dumps(tree).encode())
    assert found.status == 200, found.body
    assert {row["model"] for row in found.json["data"]} == {"echo"}
    opinion = json.dumps({"score": 0.5}).encode()
    given = ask(site, "POST", f"{TRACES}/{traces(site)[0]['id']}/feedback", bearer(KEY), opinion)
    assert given.status == 201, given.body


@pytest.mark.parametrize(
    ("method", "path", "status", "number"),
    [
        ("GET", f"{TRACES}?limit=0", 400, 1219),
        ("GET", f"{TRACES}?nonsense=1", 400, 1219),
        ("GET", f"{TRACES}/no-such-trace", 404, 1303),
        ("GET", "/api/v1/traces/a/b/c", 404, 1301),
        ("PUT", TRACES, 405, 1207),
        ("GET", "/api/v1/analytics/costs", 403, 1104),
    ],
)
def test_errors_are_the_gateways_own(site: Gateway, method: str, path: str, status: int, number: int) -> None:
    """With the number in the header and in the row, as where the worker itself refuses."""
    answer = ask(site, method, path, bearer(KEY))
    assert (answer.status, answer.error) == (status, number)
    assert answer.get("x-error-number") is None
    assert row_of(site, answer.request_id)["error"] == number


def test_a_web_page_may_read_it_where_cors_says_so(site: Gateway) -> None:
    answer = ask(site, "GET", TRACES, bearer(KEY, Origin="https://app.example"))
    assert answer.get("access-control-allow-origin") == "https://app.example"


def test_events_come_as_they_happen() -> None:
    with running_gateway(document()) as gateway, Line(gateway.address, timeout=30.0) as line:
        head = f"GET {TRACES}/tail?model=echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n"
        line.send(head.encode())
        read_until(line, b"\r\n\r\n")
        with connect(
            f"{gateway.url.replace('http', 'ws')}{TRACES}/tail?model=echo",
            additional_headers={"Authorization": f"Bearer {KEY}"}, proxy=None, open_timeout=30,
        ) as socket:  # fmt: skip
            called = call_model(gateway)
            assert called.status == 200
            assert called.request_id.encode() in read_until(line, called.request_id.encode())
            assert called.request_id in str(socket.recv(timeout=30))


def read_until(line: Line, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        data = line.socket.recv(65_536)
        assert data, received
        received += data
    return received


def test_without_control_models_go_on_and_it_says_when_to_come_back(site: Gateway) -> None:
    pid = site.control_pid()
    refused: list[Answer] = []

    def is_refused() -> bool:
        refused.append(ask(site, "GET", TRACES, bearer(KEY)))
        return refused[-1].status == 503

    for _ in range(20):  # it is back within a moment: a look may come too late
        os.kill(site.control_pid(), signal.SIGKILL)
        if is_refused():
            break
        eventually(lambda: ask(site, "GET", TRACES, bearer(KEY)).status == 200, 20.0, "control")
    assert refused[-1].status == 503, "control was never seen to be away"
    assert (refused[-1].error, refused[-1].get("retry-after")) == (1605, "1")
    assert ask(site, "GET", "/v1/models", bearer(KEY)).status == 200
    eventually(lambda: ask(site, "GET", TRACES, bearer(KEY)).status == 200, 20.0, "control again")
    assert site.control_pid() != pid


def test_the_socket_is_for_workers_alone(site: Gateway) -> None:
    """Whoever may open it still needs the token of this boot, which stands in no file and on no command line."""
    path = site.state / "control.sock"
    if not path.exists():
        pytest.skip("the path was too long, it is elsewhere")
    assert path.stat().st_mode & 0o777 == 0o600
    for token in ("", "X-Tollkeeper-Token: guess\r\n"):
        with Line(str(path)) as line:
            line.send(f"GET {TRACES} HTTP/1.1\r\nHost: x\r\nX-Consumer-ID: ann\r\n{token}\r\n".encode())
            assert line.read().status == 401


def test_the_document_is_for_everybody(site: Gateway) -> None:
    answer = ask(site, "GET", "/openapi.json")
    assert answer.status == 200
    assert TRACES in answer.json["paths"]


def test_a_rehearsal_knows_the_way(site: Gateway) -> None:
    headers = [["authorization", f"Bearer {KEY}"], ["host", "x"]]
    told = site.command("explain", method="GET", path=TRACES, headers=headers)
    assert (told["target"]["backend"], told["cost"]) == ("control", 0.0)
    assert told["target"]["endpoint"].startswith("unix:/")
    assert told["steps"][-1]["decision"] == "passed"

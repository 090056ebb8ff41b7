"""The openai package as a client: every refusal and every broken stream is an exception that it knows."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.sdk import chat, make_client
from tests.e2e.wire import row_of
from tests.harness import Gateway, eventually


@pytest.fixture
def gateway(talking: Gateway) -> Gateway:
    return talking


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with make_client(gateway) as client:
        yield client


Call = Callable[[OpenAI], Any]

REFUSALS: list[tuple[int, type[openai.APIStatusError], str, str, Call]] = [
    (1002, openai.AuthenticationError, "unknown-key", "", chat),
    (1003, openai.AuthenticationError, "an-expired-key", "", chat),
    (1004, openai.BadRequestError, "", "", lambda c: chat(c, extra_headers={"x-api-key": "another-key"})),
    (1101, openai.PermissionDeniedError, "a-narrow-key", "model", chat),
    (1102, openai.PermissionDeniedError, "a-key-for-models", "", chat),
    (1205, openai.BadRequestError, "", "", lambda c: c.get("/a%00b", cast_to=object)),
    (1207, openai.APIStatusError, "", "", lambda c: c.get("/chat/completions", cast_to=object)),
    (1208, openai.APIStatusError, "", "", lambda c: chat(c, user="x" * 10_000)),
    (1210, openai.BadRequestError, "", "", lambda c: c.post("/embeddings", cast_to=object, body=[1])),
    (1213, openai.BadRequestError, "", "model", lambda c: c.post("/embeddings", cast_to=object, body={})),
    (1214, openai.BadRequestError, "", "stream", lambda c: chat(c, extra_body={"stream": "yes"})),
    (1215, openai.APIStatusError, "", "", lambda c: chat(c, extra_headers={"Content-Encoding": "gzip"})),
    (1301, openai.NotFoundError, "", "", lambda c: c.post("/nothing", cast_to=object, body={})),
    (1302, openai.NotFoundError, "", "model", lambda c: chat(c, "no-such-model")),
    (1302, openai.NotFoundError, "", "model", lambda c: c.models.retrieve("no-such-model")),
    (1503, openai.BadRequestError, "slow", "", lambda c: chat(c, "dear")),
    (1701, openai.InternalServerError, "", "", lambda c: chat(c, "dead")),
    (1702, openai.InternalServerError, "", "", lambda c: chat(c, extra_body={"echo": {"fail": "reset"}})),
    (1703, openai.InternalServerError, "", "", lambda c: chat(c, extra_body={"echo": {"fail": "garbage"}})),
    (1705, openai.InternalServerError, "", "", lambda c: chat(c, extra_body={"echo": {"fail": "truncate"}})),
    (1710, openai.InternalServerError, "", "", lambda c: chat(c, stream=True, extra_body={"echo": {"fail": "empty"}})),
    (1805, openai.InternalServerError, "", "", lambda c: c.completions.create(
        model="echo", prompt="a", extra_body={"echo": {"delay": 5}})),
]  # fmt: skip


@pytest.mark.parametrize(("number", "kind", "key", "param", "call"), REFUSALS, ids=lambda v: str(v)[:20])
def test_every_refusal_is_an_exception_it_knows(
    gateway: Gateway, number: int, kind: type[openai.APIStatusError], key: str, param: str, call: Call
) -> None:
    key = gateway.key(key) if key in ("slow", "spent") else key
    with make_client(gateway, key) as client, pytest.raises(kind) as raised:
        call(client)
    assert type(raised.value) is kind
    error: Any = raised.value
    assert error.body["number"] == number == int(error.response.headers["x-tollkeeper-error"])
    assert (error.code, error.type, error.param) == (error.body["code"], error.body["type"], param or None)
    assert error.request_id == error.response.json()["meta"]["request_id"]
    if number != 1205:  # refused by the server itself: it never became a request
        assert row_of(gateway, error.request_id)["error"] == number


@pytest.mark.parametrize("status", [400, 404, 408, 409, 422, 429, 500, 503])
def test_an_engines_own_error_is_passed_on(gateway: Gateway, client: OpenAI, status: int) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        chat(client, extra_body={"echo": {"fail": status}})
    error: Any = raised.value
    assert (error.status_code, error.body["message"]) == (status, f"asked to fail with {status}")
    assert "x-tollkeeper-error" not in error.response.headers
    outcome = "upstream_failed" if status >= 500 else "upstream_rejected"
    assert row_of(gateway, error.request_id)["outcome"] == outcome


def test_a_full_queue_is_told_with_a_time_to_wait(gateway: Gateway) -> None:
    with make_client(gateway) as client:
        slow = threading.Thread(target=chat, args=(client, "busy"), kwargs={"extra_body": {"echo": {"delay": 1}}})
        slow.start()
        eventually(lambda: gateway.metrics().get('tollkeeper_inflight{backend="busy"}') == 1)
        with pytest.raises(openai.InternalServerError) as raised:
            chat(client, "busy")
        full: Any = raised.value
        assert (full.status_code, full.body["number"]) == (503, 1709)
        assert int(full.response.headers["retry-after"]) >= 1
        with make_client(gateway, max_retries=5) as patient:
            assert chat(patient, "busy").choices[0].message.content == "one two three"
        slow.join()


def test_retry_after_is_honoured(gateway: Gateway) -> None:
    with make_client(gateway, gateway.key("slow")) as hasty:
        chat(hasty)
        with pytest.raises(openai.RateLimitError) as raised:
            chat(hasty)
        error: Any = raised.value
        assert (error.body["number"], error.code, error.type) == (1501, "rate_limit_exceeded", "rate_limit_error")
        assert error.response.headers["retry-after"] == "1"
        row = row_of(gateway, error.request_id)
        assert (row["outcome"], row["units"], row["rule"]) == ("refused", 0, "tier:slow:rate")
    started = time.monotonic()
    with make_client(gateway, gateway.key("slow"), max_retries=2) as patient:
        answer = chat(patient)
    assert answer.choices[0].message.content == "one two three"
    assert 0.5 < time.monotonic() - started < 8


def test_a_spent_month_is_not_tried_again(gateway: Gateway) -> None:
    with make_client(gateway, gateway.key("spent"), max_retries=3) as client:
        chat(client)
        with pytest.raises(openai.RateLimitError) as raised:
            chat(client)
    error: Any = raised.value
    assert (error.body["number"], error.code) == (1502, "insufficient_quota")
    assert int(error.response.headers["retry-after"]) > 60
    assert error.response.headers["x-should-retry"] == "false"
    row_of(gateway, error.request_id)
    assert len(gateway.query("SELECT id FROM requests WHERE tier = 'spent'")) == 2


@pytest.mark.parametrize(("number", "sent"), [(1805, 3), (1807, 1)])
def test_only_what_may_pass_is_tried_again(gateway: Gateway, number: int, sent: int) -> None:
    """Both are a 504, which the package sends again unless it is told not to."""
    before = len(gateway.query("SELECT id FROM requests WHERE error = ?", number))
    slow = {"echo": {"delay": 5}}
    with make_client(gateway, max_retries=2) as client, pytest.raises(openai.InternalServerError) as raised:
        if number == 1805:
            client.completions.create(model="echo", prompt="a", extra_body=slow)
        else:
            client.embeddings.create(model="echo", input="a", extra_body=slow)
    error: Any = raised.value
    told = error.response.headers
    assert error.body["number"] == number
    assert told.get("x-should-retry") == ("false" if sent == 1 else None) and ("retry-after" in told) == (sent > 1)
    row_of(gateway, error.request_id)
    assert len(gateway.query("SELECT id FROM requests WHERE error = ?", number)) - before == sent


@pytest.mark.parametrize(
    ("model", "runs", "script", "number"),
    [
        ("origin", 50, {"fault": "rst-mid"}, 1705),
        ("origin", 50, {"fault": "fin-mid"}, 1705),
        ("origin", 10, {"fault": "bad-chunk"}, 1703),
        ("origin", 1, {"fault": "sse-idle"}, 1806),
        ("echo", 2, {"echo": {"fail": "reset", "after": 1}}, 1705),
        ("echo", 2, {"echo": {"fail": "truncate", "after": 1}}, 1705),
        ("echo", 2, {"echo": {"fail": "garbage", "after": 1}}, 1703),
        ("echo", 1, {"echo": {"fail": "hang", "after": 1}}, 1806),
    ],
)
def test_a_broken_stream_always_raises(client: OpenAI, model: str, runs: int, script: Any, number: int) -> None:
    for _ in range(runs):
        received, error = _read(client, model, script)
        assert received == "one"
        assert error.body["number"] == number


def test_an_error_inside_a_stream_raises(client: OpenAI) -> None:
    received, error = _read(client, "echo", {"echo": {"fail": "in_band", "after": 1}})
    assert (received, error.message) == ("one", "asked to fail in band")


def _read(client: OpenAI, model: str, script: Any) -> tuple[str, Any]:
    """What came of a stream before it raised."""
    received = ""
    with pytest.raises(openai.APIError) as raised:
        for chunk in chat(client, model, stream=True, extra_body=script):
            received += chunk.choices[0].delta.content or ""
    return received, raised.value

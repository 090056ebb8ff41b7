"""The openai package as a client: what works against OpenAI works here, and every refusal is an exception it knows."""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.wire import row_of
from tests.faults.address import refused
from tests.faults.origin import Origin
from tests.harness import Gateway, config, eventually, running_gateway

TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Ünïcode", "parameters": {"type": "object", "properties": {}}},
}
ASKED: Any = [{"role": "user", "content": "one two three"}]


def _holder(key: str, tier: str, **more: Any) -> Any:
    return {"tier": tier, "keys": [{"sha256": hashlib.sha256(key.encode()).hexdigest(), **more}]}


@pytest.fixture(scope="module")
def gateway(origin: Origin) -> Iterator[Gateway]:
    with refused() as refusing:
        document = config(
            tiers={
                "open": {"rate": "unlimited"},
                "slow": {"rate": "1/s", "burst": 1},
                "spent": {"monthly": 1},
            },
            consumers={
                "old": _holder("an-expired-key", "open", expires="2020-01-01"),
                "narrow": _holder("a-narrow-key", "open", models=["other*"]),
                "elsewhere": _holder("a-key-for-models", "open", routes=["/v1/models*"]),
            },
            timeouts={"idle": 0.4},
            limits={"body": "10KB"},
            backends={
                "echo": {"echo": {}, "slots": 64},
                "busy": {"echo": {}, "slots": 1, "queue": 0},
                "origin": {"http": {"endpoints": [{"url": origin.url}]}},
                "dead": {"http": {"endpoints": [{"url": f"http://127.0.0.1:{refusing}"}]}},
            },
            models={
                "echo": {"backend": "echo"},
                "dear": {"backend": "echo", "cost": 5},
                "gpt-4o": {"alias": "echo"},
                "busy": {"backend": "busy"},
                "origin": {"backend": "origin"},
                "dead": {"backend": "dead"},
            },
            routes=[
                {"path": "/v1/chat/completions"},
                {"path": "/v1/completions", "first_byte": 0.3},
                {"path": "/v1/embeddings"},
            ],
        )
        with running_gateway(document) as gateway:
            yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with _client(gateway) as client:
        yield client


def _client(gateway: Gateway, key: str = "", **options: Any) -> OpenAI:
    key = key or gateway.key("open")
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=key, **{"max_retries": 0, "timeout": 10.0, **options})


def _row(gateway: Gateway, answer: Any) -> Any:
    return row_of(gateway, answer._request_id)


def _chat(client: OpenAI, model: str = "echo", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=ASKED, **more)


def test_chat(gateway: Gateway, client: OpenAI) -> None:
    answer = _chat(client)
    assert answer.choices[0].message.content == "one two three"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)
    row = _row(gateway, answer)
    assert (row["outcome"], row["tokens_source"], row["tokens_in"], row["tokens_out"]) == ("complete", "counted", 3, 3)


def test_a_stream_without_usage_is_counted_all_the_same(gateway: Gateway, client: OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(model="echo", messages=ASKED, stream=True) as raw:
        request_id = raw.headers["x-request-id"]
        chunks = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert all(chunk.usage is None for chunk in chunks)
    row = row_of(gateway, request_id)
    assert (row["tokens_source"], row["tokens_in"], row["tokens_out"], row["stream"]) == ("counted", 3, 3, 1)


def test_a_stream_with_usage(client: OpenAI) -> None:
    chunks = list(_chat(client, stream=True, stream_options={"include_usage": True}))
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 6)
    assert all(chunk.choices for chunk in chunks[:-1])


def test_tools_pass_through(client: OpenAI, origin: Origin) -> None:
    answer = _chat(client, tools=[TOOL], tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look_up", {"text": "one two three"})
    chunks = list(_chat(client, tools=[TOOL], tool_choice="required", stream=True))
    assert [c.choices[0].finish_reason for c in chunks][-1] == "tool_calls"
    more = {"response_format": {"type": "json_object"}, "seed": 7, "extra_body": {"unheard_of": [1.50, None]}}
    _chat(client, "origin", tools=[TOOL], tool_choice="auto", **more)
    sent = json.loads(origin.entries()[-1].body.encode("latin-1"))
    assert (sent["tools"], sent["tool_choice"], sent["seed"], sent["unheard_of"]) == ([TOOL], "auto", 7, [1.5, None])


def test_completions_and_embeddings(gateway: Gateway, client: OpenAI) -> None:
    assert client.completions.create(model="echo", prompt="a b").choices[0].text == "a b"
    stream = client.completions.create(model="echo", prompt="a b", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "a b"
    answer = client.embeddings.create(model="echo", input=["a", "b c"], dimensions=16)
    assert [len(item.embedding) for item in answer.data] == [16, 16]
    raw = client.embeddings.with_raw_response.create(model="echo", input="a b c")
    row = row_of(gateway, raw.headers["x-request-id"])
    assert (row["tokens_in"], row["tokens_out"], row["tokens_source"]) == (3, 0, "counted")


def test_models(client: OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert names == {"echo", "dear", "gpt-4o", "busy", "origin", "dead"}
    assert client.models.retrieve("gpt-4o").object == "model"
    assert _chat(client, "gpt-4o").model == "echo"


async def test_many_streams_at_once(gateway: Gateway) -> None:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key("open"), max_retries=0) as client:

        async def read(number: int) -> str:
            asked: Any = [{"role": "user", "content": f"stream number {number}"}]
            stream = await client.chat.completions.create(model="echo", messages=asked, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        told = await asyncio.gather(*(read(number) for number in range(50)))
    assert told == [f"stream number {number}" for number in range(50)]


Call = Callable[[OpenAI], Any]

REFUSALS: list[tuple[int, type[openai.APIStatusError], str, str, Call]] = [
    (1002, openai.AuthenticationError, "unknown-key", "", _chat),
    (1003, openai.AuthenticationError, "an-expired-key", "", _chat),
    (1004, openai.BadRequestError, "", "", lambda c: _chat(c, extra_headers={"x-api-key": "another-key"})),
    (1101, openai.PermissionDeniedError, "a-narrow-key", "model", _chat),
    (1102, openai.PermissionDeniedError, "a-key-for-models", "", _chat),
    (1205, openai.BadRequestError, "", "", lambda c: c.get("/a%00b", cast_to=object)),
    (1207, openai.APIStatusError, "", "", lambda c: c.get("/chat/completions", cast_to=object)),
    (1208, openai.APIStatusError, "", "", lambda c: _chat(c, user="x" * 10_000)),
    (1210, openai.BadRequestError, "", "", lambda c: c.post("/embeddings", cast_to=object, body=[1])),
    (1213, openai.BadRequestError, "", "model", lambda c: c.post("/embeddings", cast_to=object, body={})),
    (1214, openai.BadRequestError, "", "stream", lambda c: _chat(c, extra_body={"stream": "yes"})),
    (1215, openai.APIStatusError, "", "", lambda c: _chat(c, extra_headers={"Content-Encoding": "gzip"})),
    (1301, openai.NotFoundError, "", "", lambda c: c.post("/nothing", cast_to=object, body={})),
    (1302, openai.NotFoundError, "", "model", lambda c: _chat(c, "no-such-model")),
    (1302, openai.NotFoundError, "", "model", lambda c: c.models.retrieve("no-such-model")),
    (1503, openai.BadRequestError, "slow", "", lambda c: _chat(c, "dear")),
    (1701, openai.InternalServerError, "", "", lambda c: _chat(c, "dead")),
    (1702, openai.InternalServerError, "", "", lambda c: _chat(c, extra_body={"echo": {"fail": "reset"}})),
    (1703, openai.InternalServerError, "", "", lambda c: _chat(c, extra_body={"echo": {"fail": "garbage"}})),
    (1705, openai.InternalServerError, "", "", lambda c: _chat(c, extra_body={"echo": {"fail": "truncate"}})),
    (1710, openai.InternalServerError, "", "", lambda c: _chat(c, stream=True, extra_body={"echo": {"fail": "empty"}})),
    (1805, openai.InternalServerError, "", "", lambda c: c.completions.create(
        model="echo", prompt="a", extra_body={"echo": {"delay": 5}})),
]  # fmt: skip


@pytest.mark.parametrize(("number", "kind", "key", "param", "call"), REFUSALS, ids=lambda v: str(v)[:20])
def test_every_refusal_is_an_exception_it_knows(
    gateway: Gateway, number: int, kind: type[openai.APIStatusError], key: str, param: str, call: Call
) -> None:
    key = gateway.key(key) if key in ("slow", "spent") else key
    with _client(gateway, key) as client, pytest.raises(kind) as raised:
        call(client)
    error: Any = raised.value
    assert type(error) is kind
    assert error.body["number"] == number == int(error.response.headers["x-tollkeeper-error"])
    assert (error.code, error.type, error.param) == (error.body["code"], error.body["type"], param or None)
    assert error.request_id == error.response.json()["meta"]["request_id"]
    if number != 1205:  # refused by the server itself: it never became a request
        assert row_of(gateway, error.request_id)["error"] == number


@pytest.mark.parametrize("status", [400, 404, 408, 409, 422, 429, 500, 503])
def test_an_engines_own_error_is_passed_on(gateway: Gateway, client: OpenAI, status: int) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        _chat(client, extra_body={"echo": {"fail": status}})
    error: Any = raised.value
    assert (error.status_code, error.body["message"]) == (status, f"asked to fail with {status}")
    assert "x-tollkeeper-error" not in error.response.headers
    outcome = "upstream_failed" if status >= 500 else "upstream_rejected"
    assert row_of(gateway, error.request_id)["outcome"] == outcome


def test_a_full_queue_is_told_with_a_time_to_wait(gateway: Gateway) -> None:
    with _client(gateway) as client:
        slow = threading.Thread(target=_chat, args=(client, "busy"), kwargs={"extra_body": {"echo": {"delay": 1}}})
        slow.start()
        eventually(lambda: gateway.metrics().get('tollkeeper_inflight{backend="busy"}') == 1)
        with pytest.raises(openai.InternalServerError) as raised:
            _chat(client, "busy")
        assert (raised.value.status_code, raised.value.body["number"]) == (503, 1709)  # type: ignore[index, call-overload]
        assert int(raised.value.response.headers["retry-after"]) >= 1
        with _client(gateway, max_retries=5) as patient:
            assert _chat(patient, "busy").choices[0].message.content == "one two three"
        slow.join()


def test_retry_after_is_honoured(gateway: Gateway) -> None:
    with _client(gateway, gateway.key("slow")) as hasty:
        _chat(hasty)
        with pytest.raises(openai.RateLimitError) as raised:
            _chat(hasty)
        error: Any = raised.value
        assert (error.body["number"], error.code, error.type) == (1501, "rate_limit_exceeded", "rate_limit_error")
        assert error.response.headers["retry-after"] == "1"
        row = row_of(gateway, error.request_id)
        assert (row["outcome"], row["units"], row["rule"]) == ("refused", 0, "tier:slow:rate")
    started = time.monotonic()
    with _client(gateway, gateway.key("slow"), max_retries=2) as patient:
        answer = _chat(patient)
    assert answer.choices[0].message.content == "one two three"
    assert 0.5 < time.monotonic() - started < 2.5


def test_a_spent_month_is_not_tried_again(gateway: Gateway) -> None:
    with _client(gateway, gateway.key("spent"), max_retries=3) as client:
        _chat(client)
        with pytest.raises(openai.RateLimitError) as raised:
            _chat(client)
    error: Any = raised.value
    assert (error.body["number"], error.code) == (1502, "insufficient_quota")
    assert int(error.response.headers["retry-after"]) > 60
    row_of(gateway, error.request_id)
    assert len(gateway.query("SELECT id FROM requests WHERE tier = 'spent'")) == 2


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
        for chunk in _chat(client, model, stream=True, extra_body=script):
            received += chunk.choices[0].delta.content or ""
    return received, raised.value

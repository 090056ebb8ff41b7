"""Other models asked in the place of one that cannot answer, over real sockets."""

import json
from hashlib import sha256
from typing import Any

import pytest

from gateway.exchange import Credential
from gateway.link import Failed
from tests.gateway.relay.stage import Stage, chunked, ok

JSON = "content-type: application/json"
BUSY = ok(b"busy", status="503 Busy")
ODD = ok(b"odd", status="500 Odd")
BAD = ok(b'{"error":{"message":"no","type":"invalid_request_error"}}', JSON, status="400 No")
LIMITED = ok(b'{"error":{"message":"slow","type":"rate_limit_error"}}', JSON, status="429 No")
TOO_LONG = ok(
    b'{"error":{"message":"long","type":"invalid_request_error","code":"context_length_exceeded"}}', JSON,
    status="400 No",
)  # fmt: skip
WHOLE = ok(b'{"id":"1","usage":{"prompt_tokens":3,"completion_tokens":4}}', JSON)
STREAM = chunked(b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n")
ALL = ["error", "timeout", "context", "not_loaded", "queue"]


def document(a: str, b: str, fallback: Any = "b", **more: Any) -> str:
    backends: dict[str, Any] = {name: {"http": {"endpoints": [{"url": url}]}} for name, url in (("a", a), ("b", b))}
    backends["engine"] = {"echo": {}, "slots": 1}
    models: dict[str, Any] = {
        "a": {"backend": "a", "fallback": fallback, "cost": 2, "price": {"input": 1, "output": 1}},
        "b": {"backend": "b", "name": "theirs", "price": {"input": 100, "output": 100}, **more.pop("b_model", {})},
        "e": {"backend": "engine", "fallback": fallback},
        "also-a": {"alias": "a"},
    }
    sections = {
        "plugins": ["key_auth", "quota"], "backends": backends, "models": models,
        "routes": [{"path": "/v1/chat/completions", "first_byte": "300ms"}], **more,
    }  # fmt: skip
    return "\n".join(f"{name}: {json.dumps(section)}" for name, section in sections.items())


async def ask(stage: Stage, model: str = "a", stream: bool = False, **headers: str) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **({"stream": True} if stream else {})}
    return await stage.ask("POST", "/v1/chat/completions", json.dumps(body).encode(), **headers)


def sent(stage: Stage) -> list[Any]:
    """The bodies that upstreams got."""
    return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in stage.received]


@pytest.mark.parametrize(
    ("answer", "condition"),
    [(BUSY, "error"), (ODD, "error"), (LIMITED, "queue"), (TOO_LONG, "context"), (b"garbage\r\n\r\n", "error"),
     (chunked(), "context"), (b"", "timeout")],
)  # fmt: skip
async def test_each_condition_falls_back_where_it_is_named(stage: Stage, answer: bytes, condition: str) -> None:
    a, b = await stage.upstream(answer), await stage.upstream(WHOLE)
    await stage.start(document(a, b, {"to": ["b"], "on": [condition]}))
    answered = await ask(stage)
    assert (answered.status, answered.number) == (200, 0)
    assert answered.header("x-tollkeeper-fallback") == "a"
    assert (answered.header("x-tollkeeper-model"), answered.header("x-tollkeeper-backend")) == ("b", "b")
    assert [body["model"] for body in sent(stage)] == ["a", "theirs"]
    row = await stage.row()
    assert (row.opened.model_asked, row.opened.model, row.opened.backend, row.opened.endpoint) == ("a", "b", "b", b)
    assert (row.outcome, row.status, row.retries, row.error) == ("complete", 200, 1, 0)
    assert stage.counted("fallbacks_total", "a", "b") == 1.0


@pytest.mark.parametrize(
    ("answer", "condition", "status"),
    [(BUSY, "error", 503), (LIMITED, "queue", 429), (TOO_LONG, "context", 400), (b"", "timeout", 504)],
)
async def test_a_condition_that_is_not_named_is_the_answer(
    stage: Stage, answer: bytes, condition: str, status: int
) -> None:
    a, b = await stage.upstream(answer), await stage.upstream(WHOLE)
    await stage.start(document(a, b, {"to": ["b"], "on": [other for other in ALL if other != condition]}))
    answered = await ask(stage)
    assert (answered.status, answered.header("x-tollkeeper-fallback")) == (status, None)
    assert len(stage.received) == 1


async def test_what_is_the_clients_fault_goes_nowhere_else(stage: Stage) -> None:
    a, b = await stage.upstream(BAD), await stage.upstream(WHOLE)
    await stage.start(document(a, b))
    assert (await ask(stage)).status == 400
    assert len(stage.received) == 1


async def test_it_costs_what_the_model_asked_for_costs(stage: Stage) -> None:
    a, b = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(a, b))
    assert (await ask(stage, "also-a")).status == 200
    row = await stage.row()
    assert (row.opened.model_asked, row.opened.model, row.units, row.cost_nano) == ("also-a", "b", 2000, 7000)
    assert (row.tokens_in, row.tokens_out) == (3, 4)


async def test_a_stream_falls_back_before_its_first_byte_and_never_after(stage: Stage) -> None:
    broken = chunked(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', end=False) + b"oops\r\n"
    a, b = await stage.upstream(BUSY, broken), await stage.upstream(STREAM)
    await stage.start(document(a, b))
    answered = await ask(stage, stream=True)
    assert answered.status == 200 and answered.body.endswith(b"data: [DONE]\n\n")
    assert [line for line in answered.lines if line.startswith("cache-control")] == ["cache-control: no-cache"]
    assert [body.get("stream_options") for body in sent(stage)] == [{"include_usage": True}] * 2
    client = await stage.send("POST", "/v1/chat/completions", json.dumps({"model": "a", "stream": True}).encode())
    assert b"upstream_malformed" in await client.rest()
    assert len(stage.received) == 3, "nobody else was asked"


async def test_an_engine_that_has_no_room_or_is_not_there(stage: Stage) -> None:
    """Nothing was sent, so that the budget of retries is not asked."""
    a, b = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(a, b))
    stage.budget._earned = 0.0
    for number in (1707, 1708, 1709, 1802, 1808):
        stage.supervisor.slot = Failed("no", number)
        answered = await ask(stage, "e")
        assert (answered.status, answered.header("x-tollkeeper-fallback")) == (200, "e"), number
    stage.supervisor.slot = Failed("bye", 1901)
    assert (await ask(stage, "e")).number == 1901
    assert {body["model"] for body in sent(stage)} == {"theirs"}


async def test_what_was_sent_counts_as_a_retry(stage: Stage) -> None:
    a, b = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(a, b))
    stage.budget._earned = 0.0  # others have had it
    answered = await ask(stage)
    assert (answered.status, len(stage.received)) == (503, 1)


async def test_nobody_falls_back_to_what_he_may_not_use(stage: Stage) -> None:
    """acme is of the project rockets."""
    a, b = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(a, b, b_model={"projects": ["boats"]}))
    assert (await ask(stage)).status == 503
    assert [body["model"] for body in sent(stage)] == ["a"]


async def test_a_key_of_few_models(stage: Stage) -> None:
    a, b = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(a, b))
    for models, status in ((("a",), 503), (("a", "b"), 200)):
        key = f"key-for-{len(models)}-models"
        digest = sha256(key.encode()).digest()
        stage.supervisor.keys[digest] = Credential("k", "acme", "free", models=models)
        assert (await ask(stage, key=key)).status == status


async def test_each_in_turn_and_the_last_error_is_told(stage: Stage) -> None:
    a, b = await stage.upstream(BUSY), await stage.upstream(ODD)
    await stage.start(document(a, b, ["e", "b"]))
    stage.supervisor.slot = Failed("full", 1709, 7.0)
    answered = await ask(stage)
    assert (answered.status, answered.header("x-tollkeeper-fallback")) == (500, "a")
    assert [body["model"] for body in sent(stage)] == ["a", "theirs"]
    row = await stage.row()
    assert (row.opened.model, row.opened.backend, row.outcome, row.units) == ("b", "b", "upstream_failed", 2000)


async def test_an_end_in_a_queue_after_a_failure(stage: Stage) -> None:
    """The row tells of the last model, the load stays where the request was."""
    a, b = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(a, b, ["e"]))
    stage.supervisor.slot = Failed("full", 1709, 7.0)
    answered = await ask(stage)
    assert (answered.status, answered.number) == (503, 1709)
    row = await stage.row()
    assert (row.opened.model, row.opened.backend, row.opened.endpoint, row.error) == ("e", "a", a, 1709)

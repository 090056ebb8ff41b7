"""Answers are what the configuration made of them, whole and framed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange import Credential, Exchange, Reply
from gateway.http.head import read_head
from gateway.loader import load_plugin
from gateway.settings.problem import ConfigError
from plugins.response_transform import Plugin
from tests.gateway.relay.stage import Answered, Stage, chunked, ok

DOCUMENT = """
plugins: [key_auth, {response_transform: %s}]
backends: {up: {http: {endpoints: [{url: "%s"}]}}}
models: {m: {backend: up}}
routes: [{path: /v1/x}, {path: /plain/*, to: up}]
"""
JSON = "content-type: application/json"


async def ask(
    stage: Stage, edits: dict[str, Any], answer: bytes, path: str = "/plain/x", body: bytes = b"", **headers: str
) -> Answered:
    await stage.start(DOCUMENT % (json.dumps(edits), await stage.upstream(answer)))
    return await stage.ask("POST", path, body, **headers)


async def test_headers(stage: Stage) -> None:
    edits = {"headers": {
        "remove": ["X-Powered-By"], "rename": {"x-trace": "x-upstream-trace"},
        "set": {"X-Who": "{consumer}", "x-role": "{role}"}, "add": {"x-a": "1", "x-b": "2"},
    }}  # fmt: skip
    answer = ok(b"body", "X-Powered-By: php", "X-Trace: t", "x-who: me", "x-role: root", "x-b: own", "x-c: kept")
    answered = await ask(stage, edits, answer)
    lines = {line for line in answered.lines if line.startswith("x-") and "request-id" not in line}
    assert {line for line in lines if not line.startswith("x-tollkeeper")} == {
        "x-upstream-trace: t", "x-who: acme", "x-a: 1", "x-b: own", "x-c: kept",
    }  # fmt: skip
    assert (answered.status, answered.body) == (200, b"body")


async def test_headers_of_a_stream_too_and_it_is_not_held(stage: Stage) -> None:
    edits = {"headers": {"set": {"x-who": "{consumer}"}}, "json": {"set": {"x": 1}}}
    answer = chunked(b'data: {"id":1,"choices":[]}\n\n', b"data: [DONE]\n\n")
    answered = await ask(stage, edits, answer, "/v1/x", b'{"model":"m","stream":true}')
    assert answered.header("x-who") == "acme"
    assert b'{"id":1,"choices":[]}' in answered.body and answered.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", ["/plain/x", "/v1/x"])
@pytest.mark.parametrize("length", [2, 5_000])
async def test_a_body_has_the_length_that_it_has(stage: Stage, path: str, length: int) -> None:
    edits = {
        "json": {"remove": ["fingerprint"], "set": {"meta.who": "{consumer}"}, "add": {"id": 9, "pad": "x" * length}}
    }
    answer = ok(b'{"id": 1.0 ,"fingerprint":"f","meta":{"a":1}}', JSON, 'etag: "v"', "digest: x")
    answered = await ask(stage, edits, answer, path, b'{"model":"m"}', accept_encoding="gzip")
    assert json.loads(answered.body) == {"id": 1.0, "meta": {"a": 1, "who": "acme"}, "pad": "x" * length}
    assert answered.body.startswith(b'{"id":1.0,'), "what is not edited is the same bytes"
    assert answered.header("content-length") == str(len(answered.body))
    assert answered.header("etag") == 'w/"v"' and answered.header("digest") is None
    assert b"accept-encoding" not in stage.received[0]


@pytest.mark.parametrize(
    "answer",
    [
        ok(b'{"a":1}', JSON, status="404 No"),
        ok(b'{"a":1}', JSON, status="206 Some"),
        ok(b'{"a":1}', "content-type: text/plain"),
        ok(b'{"a":1}', JSON, "content-encoding: br"),
        ok(b"[1]", JSON), ok(b"{", JSON), ok(b"", JSON), ok(b'{"a":1,"a":2}', JSON),
    ],
)  # fmt: skip
async def test_other_answers_stay_as_they_are(stage: Stage, answer: bytes) -> None:
    answered = await ask(stage, {"json": {"set": {"x": 1}}}, answer)
    assert answered.body == answer.partition(b"\r\n\r\n")[2]


async def test_errors_of_the_server_where_it_is_wanted(stage: Stage) -> None:
    edits = {"json": {"set": {"x": 1}}, "statuses": "any"}
    answered = await ask(stage, edits, ok(b'{"a":1}', JSON, status="404 No"))
    assert (answered.status, answered.body) == (404, b'{"a":1,"x":1}')


async def test_what_the_gateway_refuses_is_not_touched(stage: Stage) -> None:
    edits = {"json": {"set": {"x": 1}}, "headers": {"set": {"x-who": "y"}}, "statuses": "any"}
    await stage.start(DOCUMENT % (json.dumps(edits), "http://127.0.0.1:1"))
    answered = await stage.ask("GET", "/plain/x", key="")
    assert answered.number == 1001 and "x" not in json.loads(answered.body) and answered.header("x-who") is None


@pytest.mark.parametrize(
    "raw",
    [
        {"headers": {"set": {"content-length": "1"}}}, {"headers": {"remove": ["x-request-id"]}},
        {"headers": {"set": {"x-ratelimit-limit": "1"}}}, {"headers": {"rename": {"x": "access-control-allow-origin"}}},
        {"headers": {"set": {"x": "\n"}}}, {"json": {"set": {"a": "{nobody}"}}}, {"statuses": "some"},
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_cannot_be(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load_plugin("response_transform", raw)


def test_an_answer_is_held_only_for_its_body() -> None:
    assert not load_plugin("response_transform", {"headers": {"set": {"x": "y"}}}).buffers
    assert load_plugin("response_transform", {"json": {"set": {"x": "y"}}}).buffers


@given(st.text(max_size=20), st.binary(max_size=60), st.integers(200, 299))
def test_whatever_comes_nothing_breaks(name: str, body: bytes, status: int) -> None:
    raw = {"headers": {"set": {"x": "{consumer}"}}, "json": {"set": {"a.b": "c"}, "rename": {"x": "y"}}}
    plugin = load_plugin("response_transform", raw)
    assert isinstance(plugin, Plugin)
    exchange = Exchange("id", read_head(b"GET", b"/x", "1.1", [(b"host", b"a")]), "GET", "/x", 0.0)
    exchange.credential = Credential(name, name, name)
    exchange.reply = Reply(status, [(b"content-type", b"application/json")], body)
    plugin.response(exchange)
    assert exchange.reply.status == status
    assert all(0x20 <= byte < 0x7F for _, value in exchange.reply.headers for byte in value)

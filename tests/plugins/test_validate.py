"""Requests as their APIs take them: what is refused, under which name, and that nothing else is."""

import json
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.loader import load_plugin
from gateway.settings.problem import ConfigError
from gateway.wire import encode_object, parse_object
from plugins.validate import Plugin
from plugins.validate.links import find_links
from plugins.validate.shapes import Chat, Sampling
from plugins.validate.wording import describe
from tests.gateway.relay.stage import Stage, ok

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


class At:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 1000.0


class Lent:
    clock = At()


async def made(raw: Mapping[str, Any]) -> Plugin:
    plugin = load_plugin("validate", dict(raw))
    assert isinstance(plugin, Plugin)
    await plugin.start(Lent())  # type: ignore[arg-type]
    return plugin


def exchange_of(body: Any, path: str = CHAT, credential: Credential | None = None) -> Exchange:
    head = read_head(b"POST", path.encode(), "1.1", [(b"host", b"a")])
    exchange = Exchange("id", head, "POST", path, 0.0)
    exchange.body = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange.fields = parse_object(exchange.body, 64)
    exchange.credential = credential
    return exchange


async def judge(body: Any, path: str = CHAT, **raw: Any) -> tuple[int, str | None]:
    """The number and the field under which a body is refused; (0, None) for a good one."""
    plugin = await made(raw)
    try:
        plugin.access(exchange_of(body, path))
    except GatewayError as error:
        assert error.param is None or error.param.split("[")[0].split(".")[0] in error.message
        return error.number, error.param
    return 0, None


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": HELLO, **fields}


def says(content: Any, role: str = "user") -> dict[str, Any]:
    return chat(messages=[{"role": "system", "content": "be kind"}, {"role": role, "content": content}])


GOOD: list[tuple[str, dict[str, Any]]] = [
    (CHAT, chat()),
    (CHAT, chat(temperature=0, top_p=1, n=128, max_tokens=1, stop=["a", "b", "c", "d"], presence_penalty=-2)),
    (CHAT, chat(temperature=2, top_p=0.0001, n=None, max_completion_tokens=5, stop="x", frequency_penalty=2.0)),
    (CHAT, chat(logprobs=True, top_logprobs=20, seed=-(2**63), logit_bias={"50256": -100, "7": 3.5}, stream=True)),
    (CHAT, chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {"url": "x"}}}], anything=1)),
    *((CHAT, says("x", role)) for role in ("user", "assistant", "system", "developer", "tool", "function")),
    (CHAT, says("", "assistant")), (CHAT, says("", "tool")), (CHAT, says(None, "assistant")),
    (CHAT, says([{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": "https://x/y"}}])),
    (CHAT, says([{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}])),
    (CHAT, says([{"type": "file", "file": {"file_id": "f"}}])),
    ("/v1/completions", {"prompt": "x", "echo": True, "suffix": "y", "logprobs": 5}),
    ("/v1/completions", {"prompt": ["x", "y"]}), ("/v1/completions", {"prompt": [1, 2, 3]}),
    ("/v1/completions", {"prompt": [[1, 2], [3]]}),
    ("/v1/embeddings", {"input": ["a", "b"], "dimensions": 256, "encoding_format": "base64"}),
    ("/v1/responses", {"input": "hi", "instructions": "be kind", "max_output_tokens": 16}),
    ("/v1/responses", {"prompt": {"id": "pmpt_1"}}),
    ("/v1/responses", {"input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "42"}, {"type": "reasoning", "summary": []}]}),
    ("/v1/messages", {"messages": HELLO, "max_tokens": 9, "temperature": 1, "system": [{"type": "text", "text": "x"}]}),
    ("/v1/messages", {"max_tokens": 10, "messages": [{"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "y"}]}]}]}),
    ("/v1/rerank", {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1}),
    ("/v1/audio/speech", {"input": "", "voice": "x", "anything": []}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), GOOD, ids=lambda value: str(value)[:60])
async def test_what_the_apis_take_passes(path: str, body: dict[str, Any]) -> None:
    assert await judge(body, path) == (0, None)


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"model": "m"}, 1213, "messages"),
    (chat(messages=[]), 1214, "messages"),
    (chat(messages=None), 1214, "messages"),
    (chat(messages="hello"), 1214, "messages"),
    (chat(messages=["hello"]), 1214, "messages[0]"),
    (chat(messages=[{"content": "x"}]), 1213, "messages[0].role"),
    (says("x", "king"), 1214, "messages[1].role"),
    (says(""), 1214, "messages[1].content"),
    (says(" \n\t"), 1214, "messages[1].content"),
    (says(None), 1214, "messages[1].content"),
    (says([]), 1214, "messages[1].content"),
    (says(7), 1214, "messages[1].content"),
    (says([{"type": "text", "text": " "}]), 1214, "messages[1].content"),
    (says([{"type": "text"}]), 1213, "messages[1].content[0].text"),
    (says([{"type": "text", "text": "x"}, {"type": "image_url"}]), 1213, "messages[1].content[1].image_url"),
    (says([{"type": "smell", "smell": "x"}]), 1214, "messages[1].content[0].type"),
    (says([{"text": "x"}]), 1213, "messages[1].content[0].type"),
    *((chat(temperature=bad), 1214, "temperature") for bad in (-0.1, 2.1, "0.7", True, [1])),
    *((chat(top_p=bad), 1214, "top_p") for bad in (0, 1.01, "1")),
    *((chat(n=bad), 1214, "n") for bad in (0, 129, 1.5, "1", True)),
    *((chat(max_tokens=bad), 1214, "max_tokens") for bad in (0, -1, 2**31, 1.5)),
    (chat(max_completion_tokens=0), 1214, "max_completion_tokens"),
    (chat(stop=["a"] * 5), 1214, "stop"),
    (chat(stop=[1]), 1214, "stop[0]"),
    (chat(presence_penalty=2.01), 1214, "presence_penalty"),
    (chat(frequency_penalty=-2.01), 1214, "frequency_penalty"),
    (chat(top_logprobs=21), 1214, "top_logprobs"),
    (chat(logit_bias={"1": 101}), 1214, "logit_bias[...]"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "number", "param"), BAD, ids=lambda value: str(value)[:60])
async def test_what_they_do_not_take_is_named_by_its_path(body: dict[str, Any], number: int, param: str) -> None:
    assert await judge(body) == (number, param)


@pytest.mark.parametrize(
    ("path", "body", "number", "param"),
    [
        ("/v1/completions", {}, 1213, "prompt"),
        ("/v1/completions", {"prompt": " "}, 1214, "prompt"),
        ("/v1/completions", {"prompt": []}, 1214, "prompt"),
        ("/v1/completions", {"prompt": ["x", ""]}, 1214, "prompt[1]"),
        ("/v1/completions", {"prompt": [-1]}, 1214, "prompt[0]"),
        ("/v1/embeddings", {"input": ""}, 1214, "input"),
        ("/v1/embeddings", {"input": "x", "encoding_format": "hex"}, 1214, "encoding_format"),
        ("/v1/responses", {}, 1213, "input"),
        ("/v1/responses", {"input": "\n"}, 1214, "input"),
        ("/v1/responses", {"input": [{"role": "user", "content": ""}]}, 1214, "input[0].content"),
        ("/v1/messages", {"messages": HELLO}, 1213, "max_tokens"),
        ("/v1/messages", {"messages": HELLO, "max_tokens": 9, "temperature": 1.1}, 1214, "temperature"),
        ("/v1/messages", {"messages": [{"role": "tool", "content": "x"}], "max_tokens": 9}, 1214, "messages[0].role"),
        ("/v1/messages", {"messages": [{"role": "user", "content": ""}], "max_tokens": 9}, 1214, "messages[0].content"),
        ("/v1/rerank", {"query": " ", "documents": ["a"]}, 1214, "query"),
        ("/v1/rerank", {"query": "q", "documents": []}, 1214, "documents"),
        ("/v1/audio/speech", {"temperature": 3}, 1214, "temperature"),
    ],
)
async def test_every_dialect_has_its_own_rules(path: str, body: dict[str, Any], number: int, param: str) -> None:
    assert await judge(body, path) == (number, param)


async def test_an_error_says_what_is_allowed() -> None:
    plugin = await made({})
    for body, text in (
        (chat(temperature=3), "temperature must be a number from 0 to 2."),
        (chat(top_p=0), "top_p must be a number above 0 and at most 1."),
        (chat(stop=["a"] * 5), "stop must be a text or a list of at most 4 texts."),
        (says("x", "king"), "messages[1].role must be one of user, assistant, system, developer, tool, function."),
        (chat(logit_bias={"1": 101}), "logit_bias[...] must be a number from -100 to 100 or true or false."),
    ):
        with pytest.raises(GatewayError) as caught:
            plugin.access(exchange_of(body))
        assert caught.value.message == text
        assert caught.value.details["allowed"] in text


def test_every_field_can_be_described() -> None:
    for shape in (Chat, Sampling):
        for field in msgspec.structs.fields(shape):
            assert describe(field.type) not in ("", "a value")


# --- numbers and parameters with a history


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1E+999", "9" * 400, "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    "where", ['"temperature":%s', '"x":%s', '"x":{"y":[%s]}', '"messages":[{"role":"user","z":%s}]']
)
async def test_s39_a_number_is_finite(number: str, where: str) -> None:
    body = ('{"model":"m",' + where % number + "}").encode()
    with pytest.raises(GatewayError) as caught:
        exchange_of(body)
    assert caught.value.number == 1210


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_discard", -1), ("n_predict", -2), ("n_keep", -2), ("seed", 2**63), ("seed", -(2**63) - 1), ("n_probs", 101),
        ("grammar", "x" * 65_537), ("guided_regex", "(" * 65_537), ("top_k", -2), ("min_p", 1.1), ("mirostat", 3),
        ("logit_bias", {str(i): 1 for i in range(1025)}), ("logit_bias", [[i, 1] for i in range(1025)]),
        ("response_format", {"type": "json_schema", "json_schema": {"x": "y" * 65_536}}), ("repeat_last_n", -2),
        ("json_schema", {"x": "y" * 65_536}), ("samplers", ["x"] * 129), ("id_slot", 2**31), ("best_of", 1000),
        ("prompt_logprobs", 10**6), ("dry_sequence_breakers", ["x" * 1025]), ("repeat_penalty", -1), ("min_tokens", -1),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
async def test_s53_parameters_that_took_engines_down_are_bounded(field: str, value: Any) -> None:
    number, param = await judge(chat(**{field: value}))
    assert number == 1214 and param is not None and param.startswith(field)
    assert await judge({field: value}, "/v1/some/other") == (number, param), "also where the dialect is not known"


# --- limits of tiers


def of(tier: str, **more: Any) -> Credential:
    return Credential("key", "acme", tier, **more)


@pytest.mark.parametrize(
    ("credential", "length", "refused"),
    [
        (of("free"), 10, False), (of("free"), 11, True),
        (of("pro"), 20, False), (of("pro"), 21, True),  # not listed: the general figure
        (of("big"), 10_000, False),
        (None, 5, False), (None, 6, True),
        (of("free", override_tier="big"), 100, False),
        (of("free", override_tier="big", override_until=999.0), 11, True),
        (of("free", override_tier="big", override_until=1001.0), 11, False),
    ],
)  # fmt: skip
async def test_the_prompt_has_a_limit_per_tier(credential: Credential | None, length: int, refused: bool) -> None:
    tiers = {"free": {"prompt": 10}, "big": {"prompt": 0}, "anonymous": {"prompt": 5}}
    plugin = await made({"prompt": 20, "tiers": tiers})
    exchange = exchange_of(chat(messages=[{"role": "user", "content": "\u00e9" * length}]), credential=credential)
    if not refused:
        plugin.access(exchange)
        return
    with pytest.raises(GatewayError) as caught:
        plugin.access(exchange)
    assert (caught.value.number, caught.value.param, caught.value.details["used"]) == (1214, "prompt", length)


@pytest.mark.parametrize(
    ("path", "body", "characters"),
    [
        (CHAT, says([{"type": "text", "text": "abc"}, {"type": "image_url", "image_url": {"url": "data:" * 99}}]), 10),
        ("/v1/completions", {"prompt": ["ab", "c"], "suffix": "d"}, 4),
        ("/v1/completions", {"prompt": [1, 2, 3]}, 12),
        ("/v1/embeddings", {"input": [[1], [2, 3]]}, 12),
        ("/v1/responses", {"instructions": "ab", "input": [{"role": "user", "content": "c"},
                           {"type": "x", "output": [{"type": "output_text", "text": "def"}]}]}, 6),
        ("/v1/messages", {"system": "ab", "max_tokens": 1, "messages": [{"role": "user", "content": [
            {"type": "tool_result", "content": [{"type": "text", "text": "cd"}]}, {"type": "text", "text": "e"}]}]}, 5),
        ("/v1/rerank", {"query": "ab", "documents": ["cd", "e"]}, 5),
    ],
)  # fmt: skip
async def test_the_prompt_is_all_that_is_said(path: str, body: dict[str, Any], characters: int) -> None:
    assert await judge(body, path, prompt=characters) == (0, None)
    assert await judge(body, path, prompt=characters - 1) == (1214, "prompt")


async def test_messages_are_counted() -> None:
    assert await judge(chat(messages=HELLO * 3), messages=3) == (0, None)
    assert await judge(chat(messages=HELLO * 4), messages=3) == (1214, "messages")
    assert await judge({"input": [{"role": "user", "content": "x"}] * 4}, "/v1/responses", messages=3) == (
        1214, "messages",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "sent", "param"),
    [
        ({}, {"max_tokens": 512}, None),
        ({"max_tokens": None}, {"max_tokens": 512}, None),
        ({"max_tokens": 10}, {"max_tokens": 10}, None),
        ({"max_completion_tokens": 512}, {"max_completion_tokens": 512}, None),
        ({"max_completion_tokens": 513}, {}, "max_completion_tokens"),
        ({"max_tokens": 513}, {}, "max_tokens"),
        ({"max_tokens": 1, "n_predict": -1}, {}, "n_predict"),
        ({"max_tokens": 1, "n_predict": 600}, {}, "n_predict"),
    ],
)
async def test_who_names_no_length_gets_the_limit(
    fields: dict[str, Any], sent: dict[str, Any], param: str | None
) -> None:
    plugin, exchange = await made({"max_tokens": 512}), exchange_of(chat(**fields))
    if param is not None:
        assert await judge(chat(**fields), max_tokens=512) == (1214, param)
        return
    plugin.access(exchange)
    assert exchange.fields is not None
    assert json.loads(encode_object(exchange.fields)) == chat() | sent


# --- defaults, unknown fields


async def test_defaults_stand_where_the_client_is_silent() -> None:
    plugin = await made({"defaults": {"temperature": 0.7, "top_p": 1.0}})
    exchange = exchange_of(chat(temperature=0))
    plugin.access(exchange)
    assert exchange.body is None and exchange.fields is not None
    assert json.loads(encode_object(exchange.fields)) == chat(temperature=0, top_p=1.0)
    embedding = exchange_of({"input": "x"}, "/v1/embeddings")
    plugin.access(embedding)
    assert embedding.body is not None, "nothing to set: the same bytes go on"


@pytest.mark.parametrize("defaults", [{"temperature": 3}, {"temperature": "0.7"}, {"model": "x"}, {"stream": True}])
def test_defaults_are_checked_like_a_clients_words(defaults: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="defaults"):
        load_plugin("validate", {"defaults": defaults})


async def test_unknown_fields_pass_or_are_refused() -> None:
    assert await judge(chat(api_base="http://x")) == (0, None)
    assert await judge(chat(api_base="http://x"), unknown="refuse") == (1220, "api_base")
    assert await judge(chat(top_kk=1), unknown="refuse", allow=["top_kk"]) == (0, None)
    assert await judge({"whatever": 1}, "/v1/audio/speech", unknown="refuse") == (0, None), "not known what it takes"
    for path, body in GOOD:
        body = {name: value for name, value in body.items() if name != "anything"}
        assert await judge(body, path, unknown="refuse") == (0, None)


# --- addresses that a server would fetch


def links_in(body: Any) -> set[str]:
    return {path for path, _ in find_links(body, "")}


IMAGES: list[dict[str, Any]] = [
    says([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]),
    says([{"type": "image_url", "image_url": "http://x"}]),
    says([{"type": "image_url", "image_url": {"url": ["http://x"]}}]),
    says([{"type": "video_url", "video_url": {"url": "file:///etc/passwd"}}]),
    says([{"type": "image_url", "image_url": {"url": " data:image/png;base64,AA"}}]),
    says([{"type": "file", "file": {"file_url": "http://x"}}]),
    chat(tools=[{"type": "mcp", "server_url": "http://x"}]),
    chat(image_url="http://x"),
]


@pytest.mark.parametrize("body", IMAGES, ids=lambda body: str(body)[-60:])
@pytest.mark.parametrize("policy", ["data_only", "refuse"])
async def test_s37_addresses_do_not_lead_elsewhere(body: dict[str, Any], policy: str) -> None:
    number, param = await judge(body, image_urls=policy)
    assert number == 1214 and param is not None and "url" in param
    if body is not IMAGES[-1]:
        assert await judge(body) == (0, None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "url", "url": "http://x"}}]}]}),
        ("/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "x", "content": [
            {"type": "document", "source": {"type": "url", "url": "http://x"}}]}]}]}),
        ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}]}),
        ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}]}),
    ],
)  # fmt: skip
async def test_s37_in_every_dialect(path: str, body: dict[str, Any]) -> None:
    assert await judge(body, path) == (0, None)
    assert (await judge(body, path, image_urls="data_only"))[0] == 1214


async def test_s37_data_is_no_address() -> None:
    inline = says([{"type": "image_url", "image_url": {"url": "DATA:image/png;base64,AA"}}])
    assert await judge(inline, image_urls="data_only") == (0, None)
    assert (await judge(inline, image_urls="refuse"))[0] == 1214
    mentions = chat(metadata={"url": "http://x"}, tools=[{"function": {"parameters": {"url": "http://x"}}}])
    assert await judge(mentions, image_urls="refuse") == (0, None)
    call = {"role": "assistant", "content": [{"type": "tool_use", "input": {"url": "http://x"}}]}
    body = {"max_tokens": 1, "messages": [*HELLO, call]}
    assert await judge(body, "/v1/messages", image_urls="refuse") == (0, None)


async def test_s40_what_was_checked_is_what_goes_on() -> None:
    """The check sees the last of two members, a server may take the first."""
    twice = (
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"},'
        b'{"type":"image_url","image_url":{"url":"http://evil","url":"data:image/png;base64,AA"}}]}]}'
    )
    plugin, exchange = await made({"image_urls": "data_only"}), exchange_of(twice)
    plugin.access(exchange)
    assert exchange.body is None and exchange.fields is not None
    assert b"evil" not in encode_object(exchange.fields)


async def test_s40_a_prompt_cannot_hide_behind_another(stage: Stage) -> None:
    text = b'{"model":"m","messages":[{"role":"user","content":"%b","content":"short"}],"max_tokens":1}'
    await stage.start(DOCUMENT % await stage.upstream(ok(b"{}")))
    assert (await stage.ask(path=CHAT, body=text % (b"long" * 50))).status == 200
    assert b"long" not in stage.received[0] and b"short" in stage.received[0]


@pytest.mark.parametrize("kind", [["tool_use"], {"a": 1}, 7, None])
def test_a_type_may_be_anything(kind: Any) -> None:
    assert [path for path, _ in find_links({"type": kind, "url": "x"}, "m")] == ["m.url"]


@pytest.mark.parametrize(
    ("field", "piece"),
    [("messages", b"{}"), ("tools", b"{}"), ("logit_bias", b"1"), ("logit_bias", b"[]"), ("x", b"[]"), ("stop", b'""'),
     ("messages", b'{"role":"user","content":[{"type":"text","text":"x"}]}'), ("tools", b'{"url":"data:"}')],
)  # fmt: skip
async def test_s41_a_body_costs_a_bounded_multiple_of_itself(field: str, piece: bytes) -> None:
    count = 1_000_000 // len(piece)
    body = b'{"model":"m","%b":[%b]}' % (field.encode(), b",".join([piece] * count))
    plugin, exchange = await made({"prompt": 100, "image_urls": "data_only"}), exchange_of(body)
    tracemalloc.start()
    started = time.process_time()
    try:
        plugin.access(exchange)
    except GatewayError:
        pass
    finally:
        spent, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100 * len(body)
    assert spent < 5.0, "tracing makes it several times slower"


# --- through the gateway

DOCUMENT = """
plugins: [key_auth, {validate: {tiers: {free: {prompt: 50, max_tokens: 8}}}}, quota]
backends: {up: {http: {endpoints: [{url: "%s"}]}}}
models: {m: {backend: up}}
routes: [{path: /v1/chat/completions}, {path: /plain/*, to: up}]
"""


async def test_what_is_refused_costs_nothing_and_goes_nowhere(stage: Stage) -> None:
    await stage.start(DOCUMENT % await stage.upstream(ok(b"{}")))
    answered = await stage.ask(path=CHAT, body=json.dumps(chat(temperature=9)).encode())
    assert (answered.status, answered.number) == (400, 1214)
    error = json.loads(answered.body)["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "temperature")
    assert stage.received == [] and stage.used() == 0


async def test_what_passes_goes_on_with_the_limit_written_in(stage: Stage) -> None:
    await stage.start(DOCUMENT % await stage.upstream(ok(b"{}")))
    assert (await stage.ask(path=CHAT, body=json.dumps(chat()).encode())).status == 200
    assert json.loads(stage.received[0].partition(b"\r\n\r\n")[2])["max_tokens"] == 8


async def test_bodies_that_are_for_no_model_are_nobodys_business(stage: Stage) -> None:
    await stage.start(DOCUMENT % await stage.upstream(ok(b"{}")))
    assert (await stage.ask(path="/plain/x", body=b"not json")).status == 200
    assert stage.received[0].endswith(b"not json")


@pytest.mark.parametrize("model", ["", "x" * 256, "a b", "../../etc/passwd", "a\x00b", 7])
async def test_a_models_id_is_plain(stage: Stage, model: Any) -> None:
    await stage.start(DOCUMENT % "http://127.0.0.1:1")
    answered = await stage.ask(path=CHAT, body=json.dumps(chat() | {"model": model}).encode())
    assert (answered.status, answered.number) == (400, 1214)
    assert json.loads(answered.body)["error"]["param"] == "model"


# --- any JSON at all

_texts = st.text(max_size=8)
_keys = _texts | st.sampled_from(["role", "content", "type", "text", "image_url", "url", "input", "output"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=10,
)
_names = st.sampled_from([field.encode_name for field in msgspec.structs.fields(Chat)] + ["prompt", "input", "query"])
_paths = st.sampled_from([CHAT, *{path for path, _ in GOOD}])


@given(st.dictionaries(_names, _values, max_size=4), _paths)
@settings(max_examples=150, deadline=None)
async def test_whatever_comes_only_the_catalogue_answers(fields: dict[str, Any], path: str) -> None:
    raw = {"prompt": 10, "max_tokens": 5, "messages": 2, "unknown": "refuse", "image_urls": "data_only"}
    for settings_ in (raw, {}):
        plugin = await made(settings_)
        try:
            plugin.access(exchange_of(json.dumps(fields, ensure_ascii=False).encode(), path))
        except GatewayError as error:
            assert error.number in (1210, 1213, 1214, 1220)


@given(st.dictionaries(_names, _values, max_size=4))
@settings(max_examples=100, deadline=None)
async def test_a_check_changes_nothing_by_itself(fields: dict[str, Any]) -> None:
    plugin, exchange = await made({}), exchange_of(chat(**fields))
    before = exchange.body
    try:
        plugin.access(exchange)
    except GatewayError:
        pass
    assert exchange.body is before

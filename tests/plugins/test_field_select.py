"""Only the fields that a client asks for: syntax, selection, and what happens on the way."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from plugins.field_select import read_tree, select
from tests.gateway.relay.stage import Stage, chunked, ok

DOCUMENT = """
plugins: [key_auth, {field_select: %s}]
backends: {up: {http: {endpoints: [{url: "%s"}]}}}
models: {m: {backend: up}}
routes: [{path: /v1/x}, {path: /plain/*, to: up}]
"""
JSON = "content-type: application/json"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", {"a": {}}),
        ("a,b", {"a": {}, "b": {}}),
        ("a.b,a.c", {"a": {"b": {}, "c": {}}}),
        ("a,a.b", {"a": {}}),
        ("a.b.c,a.b", {"a": {"b": {}}}),
        ("a,a", {"a": {}}),
        ("é.0", {"é": {"0": {}}}),
        (".".join("a" * 10), json.loads('{"a":' * 10 + "{}" + "}" * 10)),
    ],
)
def test_fields_are_a_tree(text: str, tree: dict[str, Any]) -> None:
    assert read_tree(text) == tree


@pytest.mark.parametrize(
    "text",
    ["", ",", "a,", ".a", "a.", "a..b", "a b", "a\nb", "a,,b", ",".join(f"f{i}" for i in range(51)),
     ".".join("a" * 11), "x" * 129, "\x00"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_list_of_fields_is_refused(text: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_tree(text)
    assert (caught.value.number, caught.value.param) == (1219, "fields")


@pytest.mark.parametrize(
    ("body", "fields", "selected"),
    [
        ('{"a":1,"b":2}', "a", '{"a":1}'),
        ('{"b":2,"a":1}', "a,b", '{"b":2,"a":1}'),  # the server's order
        ('{"a":{"b":1,"c":2},"d":3}', "a.b", '{"a":{"b":1}}'),
        ('{"a":{"b":1,"c":2}}', "a", '{"a":{"b":1,"c":2}}'),
        ('{"a":[{"b":1,"c":2},{"b":3},4]}', "a.b", '{"a":[{"b":1},{"b":3}]}'),
        ('{"a":[[{"b":1,"c":2}]]}', "a.b", '{"a":[[{"b":1}]]}'),
        ('[{"a":1,"b":2},{"b":3}]', "a", '[{"a":1},{}]'),
        ('{"a":1}', "zz", "{}"),
        ('{"a":5}', "a.b", "{}"),
        ('{"a":null}', "a", '{"a":null}'),
        ('{"a": 1.0e2 ,"n":18446744073709551616123, "s":"\\u00e9"}', "a,n,s",
         '{"a":1.0e2,"n":18446744073709551616123,"s":"\\u00e9"}'),  # the same bytes
        ('{"object":"list","data":[{"id":"x","o":1}]}', "id", '{"object":"list","data":[{"id":"x"}]}'),
        ('{"status":"success","data":{"id":1,"x":2},"meta":{"v":1}}', "id",
         '{"status":"success","data":{"id":1},"meta":{"v":1}}'),
        ('{"status":"success","data":[{"id":1,"x":{"y":1,"z":2}}],"pagination":{"cursor":"c"},"meta":{}}', "x.y",
         '{"status":"success","data":[{"x":{"y":1}}],"pagination":{"cursor":"c"},"meta":{}}'),
        ('{"data":{"id":1,"x":2}}', "data.id", '{"data":{"id":1}}'),  # no envelope
    ],
)  # fmt: skip
def test_selecting(body: str, fields: str, selected: str) -> None:
    assert select(body.encode(), read_tree(fields)) == selected.encode()


@pytest.mark.parametrize("body", [b"", b"3", b'"x"', b"not json", b'{"a":', b"{", b"\xff", b'{"a":' * 100_000])
def test_what_is_no_object_or_list_stays(body: bytes) -> None:
    assert select(body, {"a": {}}) is None


# --- on the way


async def start(stage: Stage, answer: bytes, raw: str = "{}") -> Stage:
    return await stage.start(DOCUMENT % (raw, await stage.upstream(answer)))


async def test_an_answer_has_only_what_was_asked_for(stage: Stage) -> None:
    await start(stage, ok(b'{"id":"x","big":"yyyyyyyyyy"}', JSON, 'etag: "v1"', "content-md5: abc"))
    answered = await stage.ask("GET", "/plain/x?a=1&fields=id&b=%2f", accept_encoding="gzip", range="bytes=0-3")
    assert (answered.status, answered.body) == (200, b'{"id":"x"}')
    assert answered.header("etag") == 'w/"v1"' and answered.header("content-md5") is None
    head = stage.received[0].split(b"\r\n")
    assert head[0] == b"GET /plain/x?a=1&b=%2f HTTP/1.1"
    assert not any(line.startswith((b"accept-encoding", b"range")) for line in head)
    whole = await stage.ask("GET", "/plain/x")
    assert whole.body == b'{"id":"x","big":"yyyyyyyyyy"}' and whole.header("etag") == '"v1"'


async def test_the_parameter_may_go_on_and_have_another_name(stage: Stage) -> None:
    await start(stage, ok(b'{"id":1,"b":2}', JSON), "{pass: true, parameter: only}")
    answered = await stage.ask("GET", "/plain/x?only=id&fields=b")
    assert answered.body == b'{"id":1}'
    assert stage.received[0].startswith(b"GET /plain/x?only=id&fields=b HTTP")


@pytest.mark.parametrize(
    "answer",
    [
        ok(b'{"id":1,"b":2}', JSON, status="404 No"),
        ok(b'{"id":1,"b":2}', JSON, status="206 Some"),
        ok(b'{"id":1,"b":2}', "content-type: text/plain"),
        ok(b'{"id":1,"b":2}', JSON, "content-encoding: gzip"),
        ok(b'{"id":1,"b":2}'),
        ok(b"[1, ", JSON),
    ],
)
async def test_other_answers_stay_as_they_are(stage: Stage, answer: bytes) -> None:
    await start(stage, answer)
    assert (await stage.ask("GET", "/plain/x?fields=id")).body == answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("query", ["fields=", "fields=a..b", "fields=a&fields=b", "fields=a%00", "fields"])
async def test_bad_syntax_is_refused_and_asks_nobody(stage: Stage, query: str) -> None:
    await start(stage, ok(b"{}", JSON))
    answered = await stage.ask("GET", f"/plain/x?{query}")
    assert (answered.status, answered.number) == (400, 1219)
    assert stage.received == []


async def test_a_models_answer_keeps_its_count_of_tokens(stage: Stage) -> None:
    whole = b'{"id":"1","usage":{"prompt_tokens":3,"completion_tokens":5},"choices":[]}'
    await start(stage, ok(whole, JSON))
    answered = await stage.ask(path="/v1/x?fields=id", body=b'{"model":"m"}')
    assert answered.body == b'{"id":"1"}'
    row = await stage.row()
    assert (row.tokens_source, row.tokens_in, row.tokens_out) == ("counted", 3, 5)


async def test_a_stream_is_not_held(stage: Stage) -> None:
    await start(stage, chunked(b'data: {"id":1,"choices":[]}\n\n', b"data: [DONE]\n\n"))
    answered = await stage.ask(path="/v1/x?fields=id", body=b'{"model":"m","stream":true}')
    assert b"choices" in answered.body and answered.body.endswith(b"data: [DONE]\n\n")


async def test_head_promises_no_length(stage: Stage) -> None:
    await start(stage, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n")
    answered = await stage.ask("HEAD", "/plain/x?fields=id")
    assert (answered.status, answered.header("content-length")) == (200, None)


async def test_the_gateways_own_answers_too(stage: Stage) -> None:
    await start(stage, ok(b"{}"))
    answered = await stage.ask("GET", "/v1/models?fields=id")
    assert json.loads(answered.body) == {"object": "list", "data": [{"id": "m"}]}


# --- any JSON, any bytes

_names = st.sampled_from(["a", "b", "c", "data", "status", "meta"])
_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=15,
)
_fields = st.lists(st.lists(_names, min_size=1, max_size=3).map(".".join), min_size=1, max_size=5).map(",".join)


@given(_values, _fields)
def test_selecting_twice_is_selecting_once(value: Any, fields: str) -> None:
    tree = read_tree(fields)
    once = select(json.dumps(value).encode(), tree)
    if once is not None:
        assert select(once, tree) == once


@given(_values, _fields)
def test_nothing_is_invented(value: Any, fields: str) -> None:
    """Every value that is left stood at the same place before."""
    selected = select(json.dumps(value).encode(), read_tree(fields))
    if selected is not None:
        assert is_part(json.loads(selected), value)


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and is_part(part[name], whole[name]) for name in part)
    if isinstance(part, list):
        left = iter(whole if isinstance(whole, list) else ())
        return isinstance(whole, list) and all(any(is_part(one, other) for other in left) for one in part)
    return bool(part == whole)


@given(st.text(max_size=30), st.binary(max_size=50))
def test_whatever_comes_only_the_catalogue_answers(text: str, body: bytes) -> None:
    try:
        tree = read_tree(text)
    except GatewayError as error:
        assert error.number == 1219
        tree = {"a": {}}
    select(body, tree)

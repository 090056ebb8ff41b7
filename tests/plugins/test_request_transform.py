"""What goes on to the model server is what the configuration made of it, and nothing more."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.loader import load_plugin
from gateway.settings.problem import ConfigError
from plugins.request_transform import Plugin
from tests.gateway.relay.stage import Stage, ok

DOCUMENT = """
plugins: [key_auth, {request_transform: %s}]
backends: {up: {http: {endpoints: [{url: "%s"}], key: secret-of-up}}}
models: {m: {backend: up, name: real}}
routes: [{path: /v1/x}, {path: /plain/*, to: up}]
"""
JSON = "application/json"


async def sent(
    stage: Stage, edits: dict[str, Any], path: str = "/plain/x", body: bytes = b"", **headers: str
) -> tuple[str, list[str], bytes]:
    """Target, header lines in lower case, and body of what the server got."""
    if not stage.port:
        await stage.start(DOCUMENT % (json.dumps(edits), await stage.upstream(ok(b"{}"))))
    answered = await stage.ask("POST", path, body, **headers)
    assert answered.status == 200
    head, _, body = stage.received[-1].partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return first.split()[1], [line.lower() for line in lines], body


async def test_headers(stage: Stage) -> None:
    edits = {"headers": {
        "remove": ["X-Debug"], "rename": {"X-Old": "x-new", "x-none": "x-nothing"},
        "set": {"X-Who": "{consumer}/{project}", "x-fixed": "{{v}}"}, "add": {"x-absent": "a", "x-present": "b"},
    }}  # fmt: skip
    _, lines, _ = await sent(
        stage, edits, x_debug="1", x_old="o", x_who="root", x_present="mine", x_other="kept"
    )  # fmt: skip
    assert {line for line in lines if line.startswith("x-") and not line.startswith("x-request-id")} == {
        "x-new: o", "x-who: acme/rockets", "x-fixed: {v}", "x-absent: a", "x-present: mine", "x-other: kept",
    }  # fmt: skip
    assert "authorization: bearer secret-of-up" in lines


async def test_a_header_that_comes_out_empty_is_not_the_clients_either(stage: Stage) -> None:
    _, lines, _ = await sent(stage, {"headers": {"set": {"x-role": "{role}"}}}, x_role="admin")
    assert not any(line.startswith("x-role") for line in lines)


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("", "/plain/x?k=a%26b%3Dc&v=1&u=acme"),
        ("?v=2", "/plain/x?v=2&k=a%26b%3Dc&u=acme"),
        ("?gone=1&a=%2f+x&k=theirs&a=2", "/plain/x?a=%2f+x&a=2&k=a%26b%3Dc&v=1&u=acme"),
        ("?old=%41&%6fld=2", "/plain/x?new=%41&new=2&k=a%26b%3Dc&v=1&u=acme"),
        ("?flag&&old", "/plain/x?flag&new&k=a%26b%3Dc&v=1&u=acme"),
        ("?g%6fne=1", "/plain/x?k=a%26b%3Dc&v=1&u=acme"),
    ],
)
async def test_the_query(stage: Stage, query: str, target: str) -> None:
    edits = {"query": {
        "remove": ["gone"], "rename": {"old": "new"}, "set": {"k": "a&b=c"}, "add": {"v": "1", "u": "{consumer}"},
    }}  # fmt: skip
    assert (await sent(stage, edits, f"/plain/x{query}"))[0] == target


async def test_the_body_of_a_models_request(stage: Stage) -> None:
    edits = {"json": {"set": {"user": "{consumer}", "metadata.model": "{model}"}, "rename": {"max_new": "max_tokens"}}}
    _, lines, body = await sent(
        stage, edits, "/v1/x", b'{"model":"m","max_new":7,"user":"root","x": 1.50 ,"metadata":{"a":1}}'
    )
    assert body == (
        b'{"model":"real","user":"acme","x":1.50,"metadata":{"a":1,"model":"m"},"max_tokens":7}'
    )  # fmt: skip
    assert f"content-length: {len(body)}" in lines


@pytest.mark.parametrize(
    ("kind", "body", "got"),
    [
        (JSON, b'{"a":1}', b'{"a":1,"b":2}'),
        ("application/vnd.x+json; charset=utf-8", b' {"a":1}', b'{"a":1,"b":2}'),
        (JSON, b"[1]", b"[1]"),
        (JSON, b"", b""),
        ("text/plain", b'{"a":1}', b'{"a":1}'),
        ("multipart/form-data; boundary=x", b"--x", b"--x"),
    ],
)
async def test_other_bodies_are_edited_where_they_are_json(stage: Stage, kind: str, body: bytes, got: bytes) -> None:
    _, lines, received = await sent(stage, {"json": {"set": {"b": 2}}}, body=body, content_type=kind)
    assert received == got and f"content-length: {len(got)}" in lines


async def test_what_says_it_is_json_and_is_not_is_refused(stage: Stage) -> None:
    await stage.start(DOCUMENT % ('{"json": {"set": {"b": 2}}}', "http://127.0.0.1:1"))
    answered = await stage.ask("POST", "/plain/x", b'{"a":', content_type=JSON)
    assert (answered.status, answered.number) == (400, 1210)


@pytest.mark.parametrize(
    "raw",
    [
        {"headers": {"set": {"host": "x"}}}, {"headers": {"rename": {"authorization": "x-key"}}},
        {"headers": {"set": {"x-consumer-id": "root"}}}, {"headers": {"set": {"x": "a\r\nb: c"}}},
        {"headers": {"set": {"x": "{nobody}"}}}, {"query": {"set": {"x": "{consumer.id}"}}},
        {"json": {"set": {"model": "x"}}}, {"json": {"remove": ["stream"]}}, {"json": {"set": {"a": "{"}}},
        {"json": {"rename": {"x": "model"}}}, {"headers": {"append": {"x": "y"}}}, {"body": {}},
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_cannot_be(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load_plugin("request_transform", raw)


def test_the_message_names_the_placeholder_and_the_list() -> None:
    with pytest.raises(ConfigError, match=r"unknown placeholder \{user\}: there are \{consumer\}"):
        load_plugin("request_transform", {"headers": {"set": {"x": "{user}"}}})


@pytest.mark.parametrize(
    ("raw", "needs"),
    [({}, "head"), ({"headers": {"set": {"x": "{consumer}"}}}, "head"), ({"query": {"add": {"x": "{model}"}}}, "model"),
     ({"json": {"remove": ["x"]}}, "body")],
)  # fmt: skip
def test_the_body_is_read_only_where_it_must_be(raw: dict[str, Any], needs: str) -> None:
    assert load_plugin("request_transform", raw).needs == needs


async def test_headers_may_name_the_model(stage: Stage) -> None:
    _, lines, _ = await sent(stage, {"headers": {"set": {"x-model": "{model}"}}}, "/v1/x", b'{"model":"m"}')
    assert "x-model: m" in lines


# --- whatever a consumer is called, whatever comes


def exchange_of(name: str, query: str = "", body: bytes = b"") -> Exchange:
    lines = [(b"host", b"a"), (b"content-type", b"application/json")]
    exchange = Exchange("id", read_head(b"POST", b"/x", "1.1", lines), "POST", "/x", 0.0)
    exchange.credential = Credential(name, name, name, name, role=name)
    exchange.query, exchange.body = query, body
    return exchange


def made(**raw: Any) -> Plugin:
    plugin = load_plugin("request_transform", raw)
    assert isinstance(plugin, Plugin)
    return plugin


@given(st.text(max_size=20))
def test_a_name_never_breaks_out_of_a_header(name: str) -> None:
    exchange = exchange_of(name)
    made(headers={"set": {"x": "{consumer}"}}).access(exchange)
    value = exchange.replaced[b"x"]
    assert (value is None) == (name == "")
    assert value is None or all(0x20 <= byte < 0x7F for byte in value)


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text("ab=&%+ é;#", max_size=20))
def test_a_name_never_breaks_out_of_the_query(name: str, query: str) -> None:
    exchange = exchange_of(name, query)
    made(query={"set": {"who": "{consumer}"}}).access(exchange)
    assert exchange.forwarded_query is not None
    pairs = parse_qsl(exchange.forwarded_query, keep_blank_values=True)
    assert pairs == [*parse_qsl(query, keep_blank_values=True), ("who", name)]


@given(st.binary(max_size=60), st.text("ab=&%{}[]", max_size=20))
def test_whatever_comes_only_the_catalogue_answers(body: bytes, query: str) -> None:
    exchange = exchange_of("acme", query, body)
    plugin = made(json={"set": {"a.b": "{consumer}"}, "rename": {"x": "y"}}, query={"rename": {"a": "b"}})
    try:
        plugin.access(exchange)
    except GatewayError as error:
        assert error.number in (1210, 1211, 1212)

"""Which requests are alike."""

import json
from typing import Any

import pytest

from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.relay.affinity import PREFIX, find_key
from gateway.wire import parse_object


def exchange(body: Any = None, **headers: str) -> Exchange:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    head = read_head(b"POST", b"/v1/x", "1.1", [(b"host", b"a"), *fields])
    made = Exchange("id", head, "POST", "/v1/x", 0.0)
    made.peer = "192.0.2.7"
    if body is not None:
        made.fields = parse_object(json.dumps(body).encode(), 64)
    return made


def test_by_header_session_and_consumer() -> None:
    made = exchange(x_session_id="s1", x_tenant="t1")
    assert find_key("session")(made) == b"s1"
    assert find_key("header:X-Tenant")(made) == b"t1"
    assert find_key("consumer")(made) == b"192.0.2.7"
    made.credential = Credential("k", "acme", "free")
    assert find_key("consumer")(made) == b"acme"
    assert find_key("session")(exchange()) == find_key("header:x-tenant")(exchange()) == b""


def turn(*said: str, system: str = "be brief") -> Any:
    roles = ("user", "assistant")
    told = [{"role": roles[at % 2], "content": text} for at, text in enumerate(said)]
    return {"model": "m", "messages": [{"role": "system", "content": system}, *told]}


def test_a_conversation_is_the_same_in_every_turn() -> None:
    key = find_key("prefix")
    first = key(exchange(turn("hello")))
    assert first and first == key(exchange(turn("hello", "hi", "how are you")))
    assert first != key(exchange(turn("good day")))
    assert first != key(exchange(turn("hello", system="be long")))
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}
    assert key(exchange(parts)) == b'[{"type": "text", "text": "x"}]'


@pytest.mark.parametrize("field", ["prompt", "input"])
def test_a_text_by_its_beginning(field: str) -> None:
    key = find_key("prefix")
    assert key(exchange({field: "a" * PREFIX + "b"})) == key(exchange({field: "a" * PREFIX + "c"}))
    assert key(exchange({field: "ab"})) != key(exchange({field: "ac"}))


@pytest.mark.parametrize("body", [None, {}, {"model": "m"}])
def test_nothing_to_compare(body: Any) -> None:
    assert find_key("prefix")(exchange(body)) == b""


@pytest.mark.parametrize("messages", ["text", 5, [1], [None], [{"role": 5}], [{"content": None}], []])
def test_what_is_no_chat_is_no_failure(messages: Any) -> None:
    assert isinstance(find_key("prefix")(exchange({"messages": messages})), bytes)

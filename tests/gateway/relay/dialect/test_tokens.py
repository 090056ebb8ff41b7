import json
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.relay.dialect.kind import EMBEDDINGS
from gateway.relay.dialect.tokens import ask_for_usage, count_tokens
from gateway.usage import Usage
from gateway.wire import parse_object


def request(stream: bool = True, **fields: Any) -> Exchange:
    head = read_head(b"POST", b"/v1/chat/completions", "1.1", [(b"host", b"a")])
    exchange = Exchange("id", head, head.method, head.path, 0.0)
    exchange.body = json.dumps({"model": "m", **fields}).encode()
    exchange.fields = parse_object(exchange.body, 64)
    exchange.stream = stream
    return exchange


@pytest.mark.parametrize(
    ("options", "stream", "reports", "forwarded", "wants"),
    [
        ({}, True, True, {"include_usage": True}, False),
        ({"stream_options": None}, True, True, {"include_usage": True}, False),
        ({"stream_options": {"a": 1}}, True, True, {"a": 1, "include_usage": True}, False),
        ({"stream_options": {"include_usage": False}}, True, True, {"include_usage": True}, False),
        ({"stream_options": {"include_usage": True}}, True, True, {"include_usage": True}, True),
        ({}, False, True, None, False),
        ({}, True, False, None, False),
        ({"stream_options": {"include_usage": True}}, True, False, {"include_usage": True}, True),
    ],
)
def test_usage_is_asked_for_where_the_engine_reports_it(
    options: dict[str, Any], stream: bool, reports: bool, forwarded: Any, wants: bool
) -> None:
    exchange = request(stream, **options)
    ask_for_usage(exchange, reports)
    assert exchange.fields is not None
    raw = exchange.fields.get("stream_options")
    assert (None if raw is None else json.loads(bytes(raw))) == forwarded
    assert exchange.client_wants_usage == wants


def test_options_that_are_no_object_are_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        ask_for_usage(request(stream_options="x"), True)
    assert (caught.value.number, caught.value.param) == (1214, "stream_options")


PROMPT: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 100}]}


@pytest.mark.parametrize(
    ("usage", "delivered", "expected"),
    [
        (Usage(7, 3), 9, ("counted", 7, 3)),
        (Usage(0, 0), 9, ("counted", 0, 0)),  # an explicit 0 is 0
        (Usage(7), 9, ("counted", 7, 0)),
        (None, 9, ("estimated", 34, 9)),
        (Usage(None, 5), 9, ("estimated", 34, 9)),
    ],
)
def test_tokens_are_the_engines_or_marked_as_guessed(usage: Usage | None, delivered: int, expected: Any) -> None:
    exchange = request(**PROMPT)
    count_tokens(exchange, usage, delivered)
    assert (exchange.tokens.source, exchange.tokens.prompt, exchange.tokens.completion) == expected


@pytest.mark.parametrize("fields", [{"prompt": "x" * 38}, {"input": "x" * 38}, {}])
def test_the_prompt_is_a_token_per_four_bytes(fields: dict[str, Any]) -> None:
    exchange = request(**fields)
    count_tokens(exchange, None, 0)
    assert exchange.tokens.prompt == (10 if fields else 0)


def test_an_answer_that_is_no_text_has_no_tokens_that_could_be_guessed() -> None:
    exchange = request(input="x" * 38)
    exchange.dialect = EMBEDDINGS
    count_tokens(exchange, None, 4000)
    assert (exchange.tokens.source, exchange.tokens.prompt, exchange.tokens.completion) == ("estimated", 10, 0)


def test_all_fields_that_hold_a_prompt_are_counted() -> None:
    exchange = request(system="x" * 38, messages="y" * 38, documents=["z" * 36], model_notes="x" * 400)
    count_tokens(exchange, None, 0)
    assert exchange.tokens.prompt == 30

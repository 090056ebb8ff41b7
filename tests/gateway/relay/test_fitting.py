"""Bodies made fit for the server that they go to."""

from types import MappingProxyType

import pytest

from gateway.backend import BaseBackend, BaseSettings
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.relay.body import forwarded_body
from gateway.relay.fitting import fit_fields
from gateway.wire import parse_object


class Picky(BaseBackend[BaseSettings]):
    withheld = frozenset(("draft_model", "adapters"))
    renamed = MappingProxyType({"max_completion_tokens": "max_tokens"})


def fit(body: bytes, backend: type[BaseBackend[BaseSettings]] = Picky) -> bytes:
    head = read_head(b"POST", b"/v1/chat/completions", "1.1", [(b"host", b"gate.example")])
    exchange = Exchange("id", head, "POST", head.path, 0.0)
    exchange.body, exchange.fields = body, parse_object(body, 8)
    fit_fields(exchange, exchange.fields, backend("picky", BaseSettings()))
    return forwarded_body(exchange)


@pytest.mark.parametrize("field", ["draft_model", "adapters"])
def test_a_field_that_is_withheld_is_refused_and_named(field: str) -> None:
    with pytest.raises(GatewayError, match=f"does not take the field '{field}'") as caught:
        fit(b'{"model":"m","%b":"/etc"}' % field.encode())
    assert (caught.value.number, caught.value.param) == (1220, field)


def test_a_field_is_called_what_the_server_calls_it() -> None:
    assert fit(b'{"model":"m","max_completion_tokens":5}') == b'{"model":"m","max_tokens":5}'
    both = b'{"max_tokens":4000,"max_completion_tokens":5}'
    assert fit(both) == b'{"max_tokens":5}', "what counts for limits is what the server gets"


def test_other_bodies_stay_the_same_bytes() -> None:
    body = b'{ "model":"m",  "max_tokens": 5 }'
    assert fit(body) == body
    assert fit(b'{"draft_model":1}', BaseBackend) == b'{"draft_model":1}'


class Single(BaseBackend[BaseSettings]):
    choices = 1


@pytest.mark.parametrize("n", [b"2", b"128", b"2.0"])
def test_more_choices_than_the_server_gives_are_refused(n: bytes) -> None:
    with pytest.raises(GatewayError, match="gives one choice at most") as caught:
        fit(b'{"n":%b}' % n, Single)
    assert (caught.value.number, caught.value.param) == (1214, "n")
    assert fit(b'{"n":%b}' % n)


@pytest.mark.parametrize("n", [b"1", b"null", b'"two"', b"[9]"])
def test_what_asks_for_no_more_goes_on(n: bytes) -> None:
    assert fit(b'{"n":%b}' % n, Single) == b'{"n":%b}' % n


class Plain(BaseBackend[BaseSettings]):
    joins_parts = True


def said(content: str) -> bytes:
    return b'{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":%b,"name":"n"}]}' % (
        content.encode()
    )


@pytest.mark.parametrize(
    ("content", "joined"),
    [
        ('[{"type":"text","text":"hello"}]', '"hello"'),
        ('[{"type":"text","text":"one \\u00fc"},{"text":"two","type":"text"}]', '"one \u00fc\\ntwo"'),
    ],
)
def test_texts_become_one_where_the_server_wants_one(content: str, joined: str) -> None:
    assert fit(said(content), Plain) == said(joined)
    assert fit(said(content)) == said(content), "others take them as they are"


@pytest.mark.parametrize(
    "content",
    [
        '"hello"', "null", "5", '{"type":"text"}', '[{"text":"x"}]', "[1]", '["type"]',
        '[{"type":"text","text":"what is this?"},{"type":"image_url","image_url":{"url":"data:,"}}]',
    ],
)  # fmt: skip
def test_what_is_no_list_of_texts_is_left_to_the_server(content: str) -> None:
    assert fit(said(content), Plain) == said(content)
    assert fit(b'{"messages":"type"}', Plain) == b'{"messages":"type"}'

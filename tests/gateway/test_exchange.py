import json

import pytest

from gateway.exchange import Exchange, Outcome, Reply
from gateway.http.head import read_head
from gateway.wire import parse_object


def exchange(*headers: tuple[bytes, bytes]) -> Exchange:
    head = read_head(b"POST", b"/v1/x", "1.1", [(b"host", b"a"), *headers])
    return Exchange("id", head, head.method, head.path, 0.0)


def test_a_header_is_read_by_its_lower_case_name() -> None:
    made = exchange((b"x-a", "ä".encode("latin-1")), (b"x-a", b"second"))
    assert made.header("x-a") == "ä"
    assert made.header("x-b") is None


def test_headers_for_the_client_are_whole_lines() -> None:
    made = exchange()
    made.set_header("X-A", "1")
    made.set_header("X-A", "2")
    assert made.lines == ["X-A: 1\r\n", "X-A: 2\r\n"]


@pytest.mark.parametrize("value", ["a\r\nX-B: 1", "a\nb", "a\rb", "a\0b", "名"])
def test_a_header_cannot_smuggle_another_one_or_break_the_answer(value: str) -> None:
    made = exchange()
    with pytest.raises(ValueError, match="X-A"):
        made.set_header("X-A", value)
    assert made.lines == []


def test_a_field_that_is_set_makes_the_body_anew() -> None:
    made = exchange()
    made.body = b'{"model": "a",  "n": 1.50}'
    made.fields = parse_object(made.body, 8)
    made.set_field("model", "b")
    assert made.body is None
    assert json.loads(bytes(made.fields["model"])) == "b"
    assert bytes(made.fields["n"]) == b"1.50", "what was not touched stays as it stood"


def test_a_field_cannot_be_set_where_the_body_was_not_read() -> None:
    with pytest.raises(AssertionError, match="needs"):
        exchange().set_field("model", "b")


def test_the_client_cannot_name_its_request_by_itself() -> None:
    made = exchange((b"x-request-id", b"chosen"))
    assert (made.id, made.request_id) == ("id", "id")


@pytest.mark.parametrize("outcome", Outcome)
def test_outcomes_keep_units_as_the_table_says(outcome: Outcome) -> None:
    returned = {"refused", "turned_away", "answered_free", "left_waiting", "not_reached", "failed"}
    assert outcome.keeps_units == (outcome.value not in returned)
    assert outcome.label == outcome.value
    assert Outcome[outcome.name] is outcome


def test_two_replies_share_no_headers() -> None:
    Reply(200).headers.append((b"a", b"b"))
    assert Reply(200).headers == []

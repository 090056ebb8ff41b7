import json

import pytest

from gateway.errors import GatewayError
from gateway.relay.dialect.envelope import error_body, error_event
from gateway.relay.dialect.kind import CHAT, MESSAGES, RESPONSES


def test_an_error_is_one_event_without_an_end() -> None:
    event = error_event(CHAT, GatewayError(1705), "rid")
    assert event.startswith(b"data: {") and event.endswith(b"}\n\n") and event.count(b"\n") == 2
    assert json.loads(event[6:])["error"]["number"] == 1705


def test_an_error_of_responses_is_typed_and_carries_the_envelope() -> None:
    first, second, *rest = error_event(RESPONSES, GatewayError(1705, "gone", param="x"), "rid").split(b"\n")
    assert (first, rest) == (b"event: error", [b"", b""])
    told = json.loads(second.removeprefix(b"data: "))
    assert (told["type"], told["code"], told["message"], told["param"]) == ("error", "upstream_truncated", "gone", "x")
    assert told["error"]["number"] == 1705


def test_an_error_of_messages_is_anthropics_everywhere() -> None:
    event = error_event(MESSAGES, GatewayError(1705, "gone"), "rid")
    whole = error_body(MESSAGES, GatewayError(1705, "gone"), "rid")
    assert event == b"event: error\ndata: " + whole + b"\n\n"
    told = json.loads(whole)
    assert (told["type"], told["request_id"], told["meta"]["request_id"]) == ("error", "rid", "rid")
    assert (told["error"]["type"], told["error"]["message"], told["error"]["number"]) == ("api_error", "gone", 1705)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(1002, "authentication_error"), (1101, "permission_error"), (1210, "invalid_request_error"),
     (1208, "request_too_large"), (1302, "not_found_error"), (1501, "rate_limit_error"), (1709, "overloaded_error"),
     (1805, "timeout_error"), (1900, "api_error")],
)  # fmt: skip
def test_the_types_that_anthropics_clients_know(number: int, kind: str) -> None:
    assert json.loads(error_body(MESSAGES, GatewayError(number), "rid"))["error"]["type"] == kind


def test_without_a_dialect_an_error_is_the_envelope() -> None:
    told = json.loads(error_body(None, GatewayError(1301), "rid"))
    assert told.keys() == {"error", "meta"} and told["error"]["type"] == "invalid_request_error"

import json
from datetime import UTC, datetime

import pytest

from gateway.errors import CATALOGUE, GatewayError
from gateway.settings.units import Bytes, Rate, Seconds

# The ranges of the catalogue: category, usual status, and the type that OpenAI clients know.
RANGES = {
    10: ("AUTHENTICATION", {401, 400}, "authentication_error"),
    11: ("AUTHORIZATION", {403}, "permission_error"),
    12: ("VALIDATION", {400, 405, 408, 413, 415, 417, 431}, "invalid_request_error"),
    13: ("NOT_FOUND", {404}, "invalid_request_error"),
    14: ("CONFLICT", {409, 412}, "invalid_request_error"),
    15: ("RATE_LIMIT", {429, 400}, "rate_limit_error"),
    16: ("STORE", {503}, "server_error"),
    17: ("UPSTREAM", {502, 503}, "server_error"),
    18: ("TIMEOUT", {504, 503, 408}, "server_error"),
    19: ("INTERNAL", {500, 501, 502, 503}, "server_error"),
}


@pytest.mark.parametrize("number", CATALOGUE)
def test_every_entry_keeps_to_its_range(number: int) -> None:
    entry = CATALOGUE[number]
    category, statuses, kind = RANGES[number // 100]
    assert (entry.number, entry.category, entry.type) == (number, category, kind)
    assert entry.status in statuses
    assert entry.title and entry.cure.endswith((".", "…")) and not entry.title.endswith(".")
    assert entry.cause.endswith(".")


def test_every_range_is_there() -> None:
    assert {number // 100 for number in CATALOGUE} == RANGES.keys()


@pytest.mark.parametrize("number", [n for n, entry in CATALOGUE.items() if entry.status in (409, 502, 503, 504)])
def test_what_clients_send_again_by_themselves_says_whether_that_helps(number: int) -> None:
    """openai-python, for one, sends 408, 409, 429 and all of 5xx again, unless `x-should-retry` is false."""
    entry = CATALOGUE[number]
    if entry.is_final:
        assert GatewayError(number).headers == {"x-should-retry": "false"}
    else:
        assert int(GatewayError(number).headers["Retry-After"]) >= 1


def test_the_moment_knows_better() -> None:
    assert GatewayError(1706, headers={"Retry-After": "9"}).headers == {"Retry-After": "9"}
    told = GatewayError(1502, headers={"Retry-After": "9"}).headers
    assert told == {"Retry-After": "9", "x-should-retry": "false"}


def test_codes_are_slugs_and_none_stands_twice() -> None:
    codes = [entry.code for number, entry in CATALOGUE.items() if number != 1507]  # OpenAI's is that of 1502 as well
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_the_envelope_is_the_one_that_clients_know() -> None:
    error = GatewayError(1501, "Wait.", param="model", details={"limit": 3}, headers={"Retry-After": "2"})
    body = error.body("abc", datetime(2026, 11, 21, 10, 30, tzinfo=UTC))
    assert json.loads(body) == {
        "error": {
            "message": "Wait.", "type": "rate_limit_error", "param": "model", "code": "rate_limit_exceeded",
            "number": 1501, "category": "RATE_LIMIT", "details": {"limit": 3},
        },
        "meta": {"request_id": "abc", "timestamp": "2026-11-21T10:30:00Z", "documentation_url": "/errors/1501"},
    }  # fmt: skip
    assert b"\n" not in body, "it must fit into one `data:` line"
    assert (error.status, error.headers) == (429, {"Retry-After": "2"})


def test_without_a_message_the_catalogue_speaks() -> None:
    error = GatewayError(1301)
    assert error.message == "No route has this path. Check the path; the gateway's routes are closed."
    assert str(error).startswith("1301 ")


def test_the_time_is_now_where_none_is_given() -> None:
    stamp = json.loads(GatewayError(1900).body("x"))["meta"]["timestamp"]
    age = datetime.now(UTC) - datetime.fromisoformat(stamp)
    assert 0 <= age.total_seconds() < 5


def test_a_number_must_stand_in_the_catalogue() -> None:
    with pytest.raises(KeyError):
        GatewayError(9999)


def test_details_with_a_unit_of_the_configuration_are_told_plainly() -> None:
    error = GatewayError(
        1208, details={"limit": Bytes.parse("1MB"), "within": Seconds.parse("2m"), "rate": Rate(5, 60)}
    )
    assert json.loads(error.body("id"))["error"]["details"] == {"limit": 1_000_000, "within": 120.0, "rate": "5/min"}

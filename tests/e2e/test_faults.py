"""Connections and answers that fail: what the client hears, when, and what the trace says (F01-F11)."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.scene import CONNECT, FIRST_BYTE, IDLE, TOTAL
from tests.e2e.verdict import (
    EVENT,
    NO_TOKENS,
    PROMPT,
    ask_model,
    attempts,
    check_broken,
    check_failed,
    check_row,
)  # fmt: skip
from tests.e2e.wire import CHAT, Line, ask, bearer, row_of
from tests.faults.origin import Origin
from tests.harness import Gateway, eventually

GRACE = 0.5  # seconds that a timeout may be late


@pytest.fixture
def gateway(failing: Gateway) -> Gateway:
    return failing


def test_f01_a_refused_connection_is_told_at_once_and_costs_nothing(gateway: Gateway) -> None:
    answers = [ask_model(gateway, model="refused") for _ in range(3)]
    for answer in answers:
        check_failed(answer, 502, 1701)
        row = check_row(gateway, answer, "not_reached", 0, NO_TOKENS)
        assert (row["error"], row["backend"], row["upstream_status"]) == (1701, "refused", 0)
    assert min(answer.first for answer in answers) < 0.5


def test_f01_another_endpoint_is_tried_when_nothing_was_sent(gateway: Gateway, origin: Origin) -> None:
    answers = [ask_model(gateway, model="half") for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    rows = [check_row(gateway, answer, "complete", 1000, ("counted", 5, 3)) for answer in answers]
    assert {row["endpoint"] for row in rows} == {origin.url}


def test_f02_a_connection_that_is_never_made_ends_in_time(gateway: Gateway) -> None:
    answer = ask_model(gateway, model="silent")
    check_failed(answer, 504, 1801)
    assert CONNECT <= answer.first < CONNECT + GRACE
    assert check_row(gateway, answer, "not_reached", 0, NO_TOKENS)["error"] == 1801


@pytest.mark.parametrize("fault", ["rst-head", "fin-head", "rst-midhead"])
def test_f03_f04_no_answer_is_an_error_and_is_not_sent_again(gateway: Gateway, origin: Origin, fault: str) -> None:
    answer = ask_model(gateway, fault)
    check_failed(answer, 502, 1702)
    assert answer.first < 1
    assert check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)["error"] == 1702
    assert attempts(origin, answer) == 1


def test_f03_a_kept_connection_that_dies_costs_nobody_anything(gateway: Gateway) -> None:
    answers = [ask_model(gateway, "stale") for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    rows = [check_row(gateway, answer, "complete", 1000, ("counted", 5, 3)) for answer in answers[1:]]
    assert {row["retries"] for row in rows} == {1}


def test_f03_a_thousand_races_of_keep_alive(gateway: Gateway) -> None:
    body = json.dumps({"model": "origin", "messages": []}).encode()
    headers = bearer(gateway.key("monthly"), **{"X-Fault": "race"})

    def race(_: int) -> set[int]:
        with Line(gateway.address) as line:
            return {line.ask("POST", CHAT, headers, body).status for _ in range(125)}

    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(race, range(8))) == {200}


@pytest.mark.parametrize("fault", ["rst-mid; count=3", "fin-mid; count=3", "bad-chunk"])
def test_f05_a_stream_that_breaks_is_never_taken_for_whole(gateway: Gateway, fault: str) -> None:
    answer = ask_model(gateway, fault, stream=True)
    count = 3 if "count" in fault else 1
    assert answer.body.count(EVENT) == count
    number = 1703 if fault == "bad-chunk" else 1705
    check_broken(answer, number)
    assert check_row(gateway, answer, "broken", 1000, ("estimated", PROMPT, count))["error"] == number


def test_f06_an_upstream_that_never_begins(gateway: Gateway) -> None:
    for stream in (False, True):
        answer = ask_model(gateway, "hang", stream=stream)
        check_failed(answer, 504, 1805)
        assert FIRST_BYTE <= answer.first < FIRST_BYTE + GRACE
        assert check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)["error"] == 1805


def test_f07_silence_between_two_tokens(gateway: Gateway) -> None:
    answer = ask_model(gateway, "sse-idle", stream=True)
    check_broken(answer, 1806)
    assert IDLE <= answer.seconds < IDLE + GRACE
    assert check_row(gateway, answer, "broken", 1000, ("estimated", PROMPT, 1))["error"] == 1806


def test_f08_a_drip_ends_at_the_total_and_slows_nobody(gateway: Gateway) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask_model, gateway, "drip; interval=0.1", stream=True)
        others = []
        while not slow.done():
            others.append(ask_model(gateway).first)
        answer = slow.result()
    assert TOTAL <= answer.seconds < TOTAL + GRACE
    check_broken(answer, 1807)
    assert check_row(gateway, answer, "broken", 1000, ("estimated", PROMPT, 1))["error"] == 1807
    assert sorted(others)[len(others) // 2] < 0.25


def test_f09_a_body_shorter_than_announced(gateway: Gateway) -> None:
    held = ask_model(gateway, "cl-short")
    check_failed(held, 502, 1705)
    assert check_row(gateway, held, "upstream_failed", 1000, NO_TOKENS)["error"] == 1705
    passed = ask(gateway, "GET", "/plain/cl-short", bearer(gateway.key("monthly")))
    assert (passed.status, passed.body, passed.is_cut) == (200, b'{"a":', True)
    row = row_of(gateway, passed.request_id)
    assert (row["outcome"], row["error"], row["units"]) == ("broken", 1705, 1000)


def test_f10_bytes_behind_an_answer_reach_nobody(gateway: Gateway, origin: Origin) -> None:
    for _ in range(30):
        answer = ask_model(gateway, "cl-long")
        assert (answer.status, answer.body) == (200, b"{}")
        following = ask_model(gateway)
        assert "x-evil" not in following.names()
        assert following.json["usage"]["total_tokens"] == 8
    assert all(seen.faults[-1] == "cl-long" for seen in origin.connections() if "cl-long" in seen.faults)


@pytest.mark.parametrize("fault", ["garbage", "dup-te", "two-lengths"])
def test_f11_an_ambiguous_answer_is_refused(gateway: Gateway, origin: Origin, fault: str) -> None:
    answer = ask_model(gateway, fault)
    check_failed(answer, 502, 1703)
    assert check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)["error"] == 1703
    eventually(lambda: all(seen.how for seen in origin.connections() if fault in seen.faults), what="closed")

"""Upstreams that say too much, too often, the wrong thing, or nothing one could use (F12-F17)."""

import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.e2e.verdict import (
    NO_TOKENS,
    PROMPT,
    ask_model,
    check_broken,
    check_failed,
    check_row,
)  # fmt: skip
from tests.e2e.wire import Line, ask, bearer, row_of
from tests.faults.fixture import FIXTURES
from tests.faults.origin import Origin
from tests.harness import Gateway

GRACE = 0.5  # seconds that a timeout may be late


@pytest.fixture
def gateway(failing: Gateway) -> Gateway:
    return failing


def test_f12_huge_heads_are_refused_and_not_kept(gateway: Gateway) -> None:
    def meet_each() -> None:
        for fault in ("bighead", "manyheads"):
            answer = ask_model(gateway, fault)
            check_failed(answer, 502, 1704)
            assert check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)["error"] == 1704

    meet_each()  # the allocator's arenas grow once
    process = psutil.Process(gateway.workers()[0])
    before = process.memory_info().rss
    for _ in range(5):
        meet_each()
    assert process.memory_info().rss - before < 4 * 2**20


def test_f13_a_bomb_is_handed_on_as_it_is(gateway: Gateway, origin: Origin) -> None:
    with Line(("127.0.0.1", origin.port)) as line:
        packed = line.ask("GET", "/bomb").body
    process = psutil.Process(gateway.workers()[0])
    before, spent = process.memory_info().rss, sum(process.cpu_times()[:2])
    for path in ("/plain/bomb", "/plain/bomb"):
        answer = ask(gateway, "GET", path, bearer(gateway.key("monthly"), **{"Accept-Encoding": "gzip"}))
        assert (answer.body, answer.get("content-encoding")) == (packed, "gzip")
    assert ask_model(gateway, "bomb").body == packed
    assert process.memory_info().rss - before < 16 * 2**20
    assert sum(process.cpu_times()[:2]) - spent < 0.5


def test_f14_a_sick_endpoint_is_left_alone(gateway: Gateway, origin: Origin) -> None:
    asked = [ask_model(gateway, "", model="sick") for _ in range(100)]
    failed = [answer for answer in asked if answer.status >= 500]
    assert failed, "the sick endpoint was never tried"
    for answer in failed:
        assert answer.json["error"]["message"] == "sick"
        assert answer.get("x-tollkeeper-error") is None
    check_row(gateway, failed[0], "upstream_failed", 1000, NO_TOKENS)
    assert {answer.status for answer in asked[-20:]} == {200}
    down = {name: value for name, value in gateway.metrics().items() if name.startswith("tollkeeper_endpoint_up")}
    assert [value for name, value in down.items() if "5xx" in name and 'backend="sick"' in name] == [0]


def test_f15_retries_stay_within_the_budget(gateway: Gateway, origin: Origin) -> None:
    before, count = len(origin.entries()), 600
    key = gateway.key("monthly")

    def suffer(_: int) -> int:
        with Line(gateway.address) as line:
            return sum(line.ask("GET", "/again/x", bearer(key)).status >= 500 for _ in range(count // 60))

    with ThreadPoolExecutor(60) as pool:
        assert sum(pool.map(suffer, range(60))) == count
    attempts = len(origin.entries()) - before
    assert attempts <= 1.1 * count, attempts  # and once both are left alone, none at all


def test_f16_a_dead_name_is_told_and_holds_up_nobody(gateway: Gateway) -> None:
    with ThreadPoolExecutor(32) as pool:
        dead = [pool.submit(ask_model, gateway, model="nameless") for _ in range(100)]
        others = [ask_model(gateway) for _ in range(30)]
        answers = [future.result() for future in dead]
    assert {(answer.status, answer.error) for answer in answers} <= {(502, 1701), (504, 1801)}
    assert max(answer.first for answer in answers) < 2.0 + GRACE
    assert {answer.status for answer in others} == {200}
    assert sorted(answer.first for answer in others)[15] < 0.5
    check_row(gateway, answers[0], "not_reached", 0, NO_TOKENS)


@pytest.mark.parametrize("name", [name for name in FIXTURES if name != "empty"])
def test_f17_streams_pass_byte_for_byte(gateway: Gateway, name: str) -> None:
    answer = ask_model(gateway, f"fixture; name={name}", stream=True)
    assert answer.body == FIXTURES[name].body
    assert (answer.status, answer.is_cut) == (200, False)
    assert row_of(gateway, answer.request_id)["units"] == 1000


@pytest.mark.parametrize("fault", ["json-error", "html"])
def test_f17_an_error_under_200_passes_as_it_is(gateway: Gateway, fault: str) -> None:
    for stream in (False, True):
        answer = ask_model(gateway, fault, stream=stream)
        assert (answer.status, answer.is_cut) == (200, False)
        assert answer.body in (
            b'{"error":{"message":"no","type":"server_error","param":null,"code":null}}',
            b"<!doctype html><title>Sign in</title>",
        )


def test_f17_a_stream_of_nothing_is_an_error(gateway: Gateway) -> None:
    answer = ask_model(gateway, "empty-stream", stream=True)
    check_failed(answer, 502, 1710)
    check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)


def test_f17_an_error_inside_a_stream_is_passed_and_seen(gateway: Gateway) -> None:
    answer = ask_model(gateway, "error-event", stream=True)
    assert answer.body.count(b"out of memory") == 1
    assert b"[DONE]" not in answer.body
    row = row_of(gateway, answer.request_id)
    assert (row["outcome"], row["units"], row["tokens_source"]) == ("broken", 1000, "estimated")


def test_a_stream_that_does_not_say_that_it_is_over(gateway: Gateway) -> None:
    answer = ask_model(gateway, "no-done", stream=True)
    check_broken(answer, 1705)
    check_row(gateway, answer, "broken", 1000, ("estimated", PROMPT, 1))


def test_a_rejection_is_the_upstreams_own_word(gateway: Gateway) -> None:
    answer = ask_model(gateway, "early")
    assert (answer.status, answer.json["error"]["message"]) == (413, "too large")
    assert answer.get("x-tollkeeper-error") is None
    check_row(gateway, answer, "upstream_rejected", 1000, NO_TOKENS)


@pytest.mark.parametrize("fault", ["http10", "interim", "trailers"])
def test_legal_answers_pass(gateway: Gateway, fault: str) -> None:
    answer = ask_model(gateway, fault)
    assert (answer.status, answer.is_cut) == (200, False)
    assert answer.json["usage"]["total_tokens"] == 8
    assert not {"x-sum", "x-consumer-id", "link"} & answer.names()
    check_row(gateway, answer, "complete", 1000, ("counted", 5, 3))


def test_the_month_is_the_sum_of_what_was_kept(gateway: Gateway) -> None:
    last = ask_model(gateway)
    row_of(gateway, last.request_id)
    (kept,) = gateway.query("SELECT sum(units) AS units FROM requests WHERE tier = 'monthly'")
    remaining = last.get("x-quota-monthly-remaining")
    assert remaining is not None
    assert 10_000_000 - int(remaining) == kept["units"] // 1000


def test_status_answered_all_the_time(gateway: Gateway) -> None:
    started = time.monotonic()
    gateway.metrics()
    assert time.monotonic() - started < 2

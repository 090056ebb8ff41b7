"""Upstreams that fail, through the whole gateway: what the client hears, when, and what the trace says (F01-F17)."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from tests.e2e.wire import CHAT, Answer, Line, ask, bearer, row_of
from tests.faults.address import blackhole, refused
from tests.faults.fixture import FIXTURES
from tests.faults.origin import Origin
from tests.harness import Document, Gateway, config, eventually, running_gateway

CONNECT, FIRST_BYTE, IDLE, TOTAL = 0.4, 0.6, 0.5, 2.0  # seconds
GRACE = 0.5  # seconds that a timeout may be late
EVENT = b'data: {"id":"c1"'
MESSAGES = [{"role": "user", "content": "x" * 29}]
PROMPT = (len(json.dumps(MESSAGES)) + 3) // 4  # tokens, as the gateway estimates them
NO_TOKENS = ("none", 0, 0)


def _document(origin: Origin, refusing: int, silent: int) -> Document:
    def http(*urls: str) -> Document:
        return {"http": {"endpoints": [{"url": url} for url in urls]}}

    backends = {
        "origin": http(origin.url),
        "refused": http(f"http://127.0.0.1:{refusing}"),
        "silent": http(f"http://127.0.0.1:{silent}"),
        "nameless": http("http://no-such-host.invalid:80"),
        "half": http(f"http://127.0.0.1:{refusing}", origin.url),
        "sick": http(f"{origin.url}/5xx", f"{origin.url}/ok"),
        "outage": http(f"{origin.url}/5xx/1", f"{origin.url}/5xx/2"),
    }
    return config(
        timeouts={"connect": CONNECT, "first_byte": FIRST_BYTE, "idle": IDLE, "total": TOTAL},
        backends=backends,
        models={name: {"backend": name} for name in backends},
        routes=[
            {"path": CHAT},
            {"path": "/plain/*", "to": "origin", "strip": "/plain"},
            {"path": "/again/*", "to": "outage", "strip": "/again", "retry": True},
        ],
    )


@pytest.fixture(scope="module")
def gateway(origin: Origin) -> Iterator[Gateway]:
    with refused() as refusing, blackhole() as silent, running_gateway(_document(origin, refusing, silent)) as gateway:
        yield gateway


def _ask(gateway: Gateway, fault: str = "ok", *, model: str = "origin", stream: bool = False) -> Answer:
    document = {"model": model, "stream": stream, "messages": MESSAGES}
    body = json.dumps(document).encode()
    return ask(gateway, "POST", CHAT, bearer(gateway.key("monthly"), **{"X-Fault": fault}), body)


def _check_failed(answer: Answer, status: int, number: int) -> None:
    assert (answer.status, answer.error, answer.is_cut) == (status, number, False)


def _check_row(gateway: Gateway, answer: Answer, outcome: str, units: int, tokens: tuple[str, int, int]) -> Any:
    row = row_of(gateway, answer.request_id)
    assert (row["outcome"], row["units"]) == (outcome, units)
    assert (row["tokens_source"], row["tokens_in"], row["tokens_out"]) == tokens
    return row


def _check_broken(answer: Answer, number: int) -> None:
    """What had come stands; then one error in the stream, no end mark, and no clean end."""
    assert answer.status == 200
    assert answer.is_cut
    assert b"[DONE]" not in answer.body
    last = answer.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    error = json.loads(last.removeprefix(b"data: "))
    assert error["error"]["number"] == number
    assert error["meta"]["request_id"] == answer.request_id


def _attempts(origin: Origin, answer: Answer) -> int:
    return sum(f"x-request-id: {answer.request_id}\r\n" in entry.head for entry in origin.entries())


def test_f01_a_refused_connection_is_told_at_once_and_costs_nothing(gateway: Gateway) -> None:
    answers = [_ask(gateway, model="refused") for _ in range(3)]
    for answer in answers:
        _check_failed(answer, 502, 1701)
        row = _check_row(gateway, answer, "not_reached", 0, NO_TOKENS)
        assert (row["error"], row["backend"], row["upstream_status"]) == (1701, "refused", 0)
    assert min(answer.first for answer in answers) < 0.1


def test_f01_another_endpoint_is_tried_when_nothing_was_sent(gateway: Gateway, origin: Origin) -> None:
    answers = [_ask(gateway, model="half") for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    rows = [_check_row(gateway, answer, "complete", 1000, ("counted", 5, 3)) for answer in answers]
    assert {row["endpoint"] for row in rows} == {origin.url}


def test_f02_a_connection_that_is_never_made_ends_in_time(gateway: Gateway) -> None:
    answer = _ask(gateway, model="silent")
    _check_failed(answer, 504, 1801)
    assert CONNECT <= answer.first < CONNECT + GRACE
    assert _check_row(gateway, answer, "not_reached", 0, NO_TOKENS)["error"] == 1801


@pytest.mark.parametrize("fault", ["rst-head", "fin-head", "rst-midhead"])
def test_f03_f04_no_answer_is_an_error_and_is_not_sent_again(gateway: Gateway, origin: Origin, fault: str) -> None:
    answer = _ask(gateway, fault)
    _check_failed(answer, 502, 1702)
    assert answer.first < 0.2
    assert _check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)["error"] == 1702
    assert _attempts(origin, answer) == 1


def test_f03_a_kept_connection_that_dies_costs_nobody_anything(gateway: Gateway) -> None:
    answers = [_ask(gateway, "stale") for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    rows = [_check_row(gateway, answer, "complete", 1000, ("counted", 5, 3)) for answer in answers[1:]]
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
    answer = _ask(gateway, fault, stream=True)
    count = 3 if "count" in fault else 1
    assert answer.body.count(EVENT) == count
    number = 1703 if fault == "bad-chunk" else 1705
    _check_broken(answer, number)
    assert _check_row(gateway, answer, "broken", 1000, ("estimated", PROMPT, count))["error"] == number


def test_f06_an_upstream_that_never_begins(gateway: Gateway) -> None:
    for stream in (False, True):
        answer = _ask(gateway, "hang", stream=stream)
        _check_failed(answer, 504, 1805)
        assert FIRST_BYTE <= answer.first < FIRST_BYTE + GRACE
        assert _check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)["error"] == 1805


def test_f07_silence_between_two_tokens(gateway: Gateway) -> None:
    answer = _ask(gateway, "sse-idle", stream=True)
    _check_broken(answer, 1806)
    assert IDLE <= answer.seconds < IDLE + GRACE
    assert _check_row(gateway, answer, "broken", 1000, ("estimated", PROMPT, 1))["error"] == 1806


def test_f08_a_drip_ends_at_the_total_and_slows_nobody(gateway: Gateway) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(_ask, gateway, "drip; interval=0.1", stream=True)
        others = []
        while not slow.done():
            others.append(_ask(gateway).first)
        answer = slow.result()
    assert TOTAL <= answer.seconds < TOTAL + GRACE
    _check_broken(answer, 1807)
    assert _check_row(gateway, answer, "broken", 1000, ("estimated", PROMPT, 1))["error"] == 1807
    assert sorted(others)[len(others) // 2] < 0.05


def test_f09_a_body_shorter_than_announced(gateway: Gateway) -> None:
    held = _ask(gateway, "cl-short")
    _check_failed(held, 502, 1705)
    assert _check_row(gateway, held, "upstream_failed", 1000, NO_TOKENS)["error"] == 1705
    passed = ask(gateway, "GET", "/plain/cl-short", bearer(gateway.key("monthly")))
    assert (passed.status, passed.body, passed.is_cut) == (200, b'{"a":', True)
    row = row_of(gateway, passed.request_id)
    assert (row["outcome"], row["error"], row["units"]) == ("broken", 1705, 1000)


def test_f10_bytes_behind_an_answer_reach_nobody(gateway: Gateway, origin: Origin) -> None:
    for _ in range(30):
        answer = _ask(gateway, "cl-long")
        assert (answer.status, answer.body) == (200, b"{}")
        following = _ask(gateway)
        assert "x-evil" not in following.names()
        assert following.json["usage"]["total_tokens"] == 8
    assert all(seen.faults[-1] == "cl-long" for seen in origin.connections() if "cl-long" in seen.faults)


@pytest.mark.parametrize("fault", ["garbage", "dup-te", "two-lengths"])
def test_f11_an_ambiguous_answer_is_refused(gateway: Gateway, origin: Origin, fault: str) -> None:
    answer = _ask(gateway, fault)
    _check_failed(answer, 502, 1703)
    assert _check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)["error"] == 1703
    eventually(lambda: all(seen.how for seen in origin.connections() if fault in seen.faults), what="closed")


def test_f12_huge_heads_are_refused_and_not_kept(gateway: Gateway) -> None:
    process = psutil.Process(gateway.workers()[0])
    before = process.memory_info().rss
    for fault in ("bighead", "manyheads") * 5:
        answer = _ask(gateway, fault)
        _check_failed(answer, 502, 1704)
        assert _check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)["error"] == 1704
    assert process.memory_info().rss - before < 4 * 2**20


def test_f13_a_bomb_is_handed_on_as_it_is(gateway: Gateway, origin: Origin) -> None:
    with Line(("127.0.0.1", origin.port)) as line:
        packed = line.ask("GET", "/bomb").body
    process = psutil.Process(gateway.workers()[0])
    before, spent = process.memory_info().rss, sum(process.cpu_times()[:2])
    for path in ("/plain/bomb", "/plain/bomb"):
        answer = ask(gateway, "GET", path, bearer(gateway.key("monthly"), **{"Accept-Encoding": "gzip"}))
        assert (answer.body, answer.get("content-encoding")) == (packed, "gzip")
    assert _ask(gateway, "bomb").body == packed
    assert process.memory_info().rss - before < 16 * 2**20
    assert sum(process.cpu_times()[:2]) - spent < 0.5


def test_f14_a_sick_endpoint_is_left_alone(gateway: Gateway, origin: Origin) -> None:
    asked = [_ask(gateway, "", model="sick") for _ in range(60)]
    failed = [answer for answer in asked if answer.status >= 500]
    assert failed, "the sick endpoint was never tried"
    for answer in failed:
        assert answer.json["error"]["message"] == "sick"
        assert answer.get("x-tollkeeper-error") is None
    _check_row(gateway, failed[0], "upstream_failed", 1000, NO_TOKENS)
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
    assert count < attempts <= 1.25 * count, attempts


def test_f16_a_dead_name_is_told_and_holds_up_nobody(gateway: Gateway) -> None:
    with ThreadPoolExecutor(32) as pool:
        dead = [pool.submit(_ask, gateway, model="nameless") for _ in range(100)]
        others = [_ask(gateway) for _ in range(30)]
        answers = [future.result() for future in dead]
    assert {(answer.status, answer.error) for answer in answers} <= {(502, 1701), (504, 1801)}
    assert max(answer.first for answer in answers) < 2.0 + GRACE
    assert {answer.status for answer in others} == {200}
    assert sorted(answer.first for answer in others)[15] < 0.1
    _check_row(gateway, answers[0], "not_reached", 0, NO_TOKENS)


@pytest.mark.parametrize("name", [name for name in FIXTURES if name != "empty"])
def test_f17_streams_pass_byte_for_byte(gateway: Gateway, name: str) -> None:
    answer = _ask(gateway, f"fixture; name={name}", stream=True)
    assert answer.body == FIXTURES[name].body
    assert (answer.status, answer.is_cut) == (200, False)
    assert row_of(gateway, answer.request_id)["units"] == 1000


@pytest.mark.parametrize("fault", ["json-error", "html"])
def test_f17_an_error_under_200_passes_as_it_is(gateway: Gateway, fault: str) -> None:
    for stream in (False, True):
        answer = _ask(gateway, fault, stream=stream)
        assert (answer.status, answer.is_cut) == (200, False)
        assert answer.body in (
            b'{"error":{"message":"no","type":"server_error","param":null,"code":null}}',
            b"<!doctype html><title>Sign in</title>",
        )


def test_f17_a_stream_of_nothing_is_an_error(gateway: Gateway) -> None:
    answer = _ask(gateway, "empty-stream", stream=True)
    _check_failed(answer, 502, 1710)
    _check_row(gateway, answer, "upstream_failed", 1000, NO_TOKENS)


def test_f17_an_error_inside_a_stream_is_passed_and_seen(gateway: Gateway) -> None:
    answer = _ask(gateway, "error-event", stream=True)
    assert answer.body.count(b"out of memory") == 1
    assert b"[DONE]" not in answer.body
    row = row_of(gateway, answer.request_id)
    assert (row["outcome"], row["units"], row["tokens_source"]) == ("broken", 1000, "estimated")


def test_a_stream_that_does_not_say_that_it_is_over(gateway: Gateway) -> None:
    answer = _ask(gateway, "no-done", stream=True)
    _check_broken(answer, 1705)
    _check_row(gateway, answer, "broken", 1000, ("estimated", PROMPT, 1))


def test_a_rejection_is_the_upstreams_own_word(gateway: Gateway) -> None:
    answer = _ask(gateway, "early")
    assert (answer.status, answer.json["error"]["message"]) == (413, "too large")
    assert answer.get("x-tollkeeper-error") is None
    _check_row(gateway, answer, "upstream_rejected", 1000, NO_TOKENS)


@pytest.mark.parametrize("fault", ["http10", "interim", "trailers"])
def test_legal_answers_pass(gateway: Gateway, fault: str) -> None:
    answer = _ask(gateway, fault)
    assert (answer.status, answer.is_cut) == (200, False)
    assert answer.json["usage"]["total_tokens"] == 8
    assert not {"x-sum", "x-consumer-id", "link"} & answer.names()
    _check_row(gateway, answer, "complete", 1000, ("counted", 5, 3))


def test_the_month_is_the_sum_of_what_was_kept(gateway: Gateway) -> None:
    last = _ask(gateway)
    row_of(gateway, last.request_id)
    (kept,) = gateway.query("SELECT sum(units) AS units FROM requests WHERE tier = 'monthly'")
    remaining = last.get("x-quota-monthly-remaining")
    assert remaining is not None
    assert 10_000_000 - int(remaining) == kept["units"] // 1000


def test_status_answered_all_the_time(gateway: Gateway) -> None:
    started = time.monotonic()
    gateway.metrics()
    assert time.monotonic() - started < 0.25

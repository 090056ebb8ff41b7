"""What bites in Lua: numbers, types, times to live, clocks. Each in the script itself, on a real Redis."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest

from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Quota, Rate, Refund, Slots
from gateway.ledger.period import Month, month_at
from gateway.ledger.script import LEDGER, MONTH, limit_key, month_key, read, take
from tests.gateway.ledger.model import SECOND, START_US
from tests.gateway.ledger.shared import SharedLedger
from tests.redis import Caller, running_redis

DAY = 86_400 * SECOND


class Redis:
    """A server whose clock the test holds, or leaves alone."""

    def __init__(self, caller: Caller) -> None:
        self.call = caller.call
        self.now_us = START_US
        self.ledger = SharedLedger(caller, lambda: self.now_us)

    def ask(self, limit: Limit, cost: int = 1000, lease: int = 0) -> Grant | Denial:
        return self.ledger.ask("w", Ask("c", (Need(limit, cost),), lease))

    def run(self, mode: str, ask: Ask, month: Month | None = None, clock: str = "") -> Any:
        keys, arguments = take(mode, "w", ask, month, clock)
        return self.call("EVAL", LEDGER.text, len(keys), *keys, *arguments)


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    with running_redis() as server, Caller(server.port) as caller:
        yield caller


@pytest.fixture
def redis(caller: Caller) -> Redis:
    caller.call("FLUSHALL")
    return Redis(caller)


def test_the_clock_is_that_of_redis(redis: Redis) -> None:
    reply = redis.run("take", Ask("c", (Need(Rate("r", 1, SECOND, 1), 1000),)))
    assert abs(reply[4] - time.time_ns() // 1000) < 2 * SECOND


def test_another_month_charges_nothing(redis: Redis) -> None:
    """F37: the caller is told the time, and nothing else happens, whichever limit comes first."""
    wrong = month_at(START_US - 40 * DAY, "UTC")
    needs = (Need(Rate("r", 1, SECOND, 5), 1000), Need(Slots("s", 5, SECOND), 1000), Need(Quota("q", 5), 1000))
    assert redis.run("take", Ask("c", needs), wrong, str(START_US)) == [-2, 0, 0, 0, START_US]
    assert redis.call("KEYS", "*") == []


def test_replies_are_integers_without_holes(redis: Redis) -> None:
    needs = (Need(Rate("r", 7, SECOND, 3), 1500), Need(Quota("q", 5), 1), Need(Slots("s", 5, SECOND), 999))
    month = month_at(START_US, "UTC")
    for cost in (1000, 10**7):
        reply = redis.run("take", Ask("c", (Need(Rate("x", 7, SECOND, 3), cost), *needs)), month, str(START_US))
        assert len(reply) == 5 + 3 * 4 and all(type(figure) is int for figure in reply)


def test_stored_times_keep_every_digit(redis: Redis) -> None:
    redis.now_us = START_US + 123_457
    redis.ask(Rate("r", 99_991, 60 * SECOND, 10))
    us, ticks, scale = (int(part) for part in redis.call("GET", "tk:{r}").split())
    assert us * scale + ticks == redis.now_us * scale + 60_000 * 1000 and scale == 99_991


@pytest.mark.parametrize(
    "rate", [Rate("r", 10, SECOND, 1), Rate("r", 1, 60 * SECOND, 1000), Rate("r", 10**6, SECOND, 1)]
)
def test_a_bucket_lives_as_long_as_it_is_not_full(redis: Redis, rate: Rate) -> None:
    """Never 0 (an error), never shorter than the refill (a bucket full again at once)."""
    redis.run("take", Ask("c", (Need(rate, 1000 * rate.burst),)))
    refill = rate.burst * rate.period_us / rate.count / 1e6
    assert refill + 0.5 < redis.call("PTTL", "tk:{r}") / 1000 <= refill + 1.1


def test_seven_a_second_for_ten_minutes(redis: Redis) -> None:
    """Nothing is rounded to seconds or microseconds: 4,200 and the burst, to the unit."""
    rate, admitted = Rate("r", 7, SECOND, 7), 0
    for step in range(6001):
        redis.now_us = START_US + step * SECOND // 10
        while isinstance(redis.ask(rate), Grant):
            admitted += 1
    assert admitted == 7 + 4200


def test_a_hundred_million_tokens_a_minute_are_exact(redis: Redis) -> None:
    """Tokens in milli-units, at a pace whose ticks do not fit a double's 53 bits."""
    rate = Rate("r", 100_000_000, 999_983, 100_000_000)
    assert isinstance(redis.ask(rate, 1000 * rate.burst), Grant)
    denial = redis.ask(rate, 1)
    assert isinstance(denial, Denial) and denial.wait_us == 1 and denial.standings[0].used == 1000 * rate.burst
    redis.now_us += 123
    grant = redis.ask(rate, 1)
    flowed = 123 * 100_000_000 * 1000 // 999_983
    assert isinstance(grant, Grant) and grant.standings[0].remaining == flowed - 1


def test_a_lease_at_such_a_pace_is_exact(redis: Redis) -> None:
    rate = Rate("r", 99_999_989, 999_983, 100_000_000)
    grant = redis.ask(rate, 1000, lease=10**12)
    assert isinstance(grant, Grant) and grant.lease == 10**9
    assert grant.standings[0].used == 10**9 + 1000


def test_a_cost_above_the_burst_is_said_to_be_never(redis: Redis) -> None:
    denial = redis.ask(Rate("r", 100, SECOND, 10), 10_001)
    assert isinstance(denial, Denial) and denial.unsatisfiable and denial.wait_us == 0


def test_f38_a_clock_that_steps_back_locks_nobody_out(redis: Redis) -> None:
    """An hour back: the bucket is empty, and flows at its rate from then on."""
    rate = Rate("r", 60, 60 * SECOND, 150)
    for _ in range(150):
        redis.ask(rate)
    redis.now_us -= 3600 * SECOND
    for _ in range(10):
        denial = redis.ask(rate)
        assert isinstance(denial, Denial) and denial.wait_us == SECOND
        redis.now_us += SECOND
        assert isinstance(redis.ask(rate), Grant)
    redis.now_us += 7200 * SECOND
    assert sum(isinstance(redis.ask(rate), Grant) for _ in range(200)) == 150


def test_f38_leases_of_a_later_clock_end_within_a_second(redis: Redis) -> None:
    rate = Rate("r", 10**6, SECOND, 1000)

    def lend() -> int:
        answer = redis.ask(rate, 1000, 10_000)
        assert isinstance(answer, Grant)
        return answer.lease

    assert lend() == 10_000
    redis.now_us -= 3600 * SECOND
    assert isinstance(redis.ask(rate), Denial)
    redis.now_us += 1000  # full again
    assert lend() == 0
    redis.now_us += SECOND
    assert lend() == 10_000


def test_a_month_ends_35_days_after_its_end(redis: Redis) -> None:
    redis.ask(Quota("q", 10))
    month = month_at(START_US, "UTC")
    left_ms = redis.call("PTTL", month_key("q", month.name))
    assert abs(left_ms - ((month.end_us - START_US) // 1000 + 35 * 86_400_000)) < 5000


def test_a_correction_of_a_month_that_redis_does_not_know_is_kept(redis: Redis) -> None:
    redis.ledger.refund("w", Refund("c", (Need(Quota("q", 10), -5000),), "2026-10"))
    assert redis.call("HGETALL", "tk:{q}:2026-10") == [b"used", b"5000", b"w:w", b"5000"]
    assert redis.call("PTTL", "tk:{q}:2026-10") > 60 * 86_400_000


def test_looking_writes_nothing(redis: Redis) -> None:
    needs = (Need(Rate("r", 1, SECOND, 5), 1000), Need(Slots("s", 5, SECOND), 1000), Need(Quota("q", 5), 1000))
    redis.ledger.peek(Ask("c", needs))
    assert redis.call("KEYS", "*") == []


def test_the_slots_of_the_dead_are_forgotten_wholly(redis: Redis) -> None:
    slots = Slots("s", 100, SECOND)
    for number in range(50):
        redis.ledger.ask("w", Ask(f"c{number}", (Need(slots, 1000),)))
    redis.now_us += SECOND
    grant = redis.ledger.ask("w", Ask("last", (Need(slots, 1000),)))
    assert isinstance(grant, Grant) and grant.standings[0].used == 1000
    assert redis.call("ZCARD", "tk:{s}") == 1 and redis.call("HLEN", "tk:{s}:held") == 2


def test_a_month_is_put_right_as_often_as_one_likes(redis: Redis) -> None:
    def put(mode: str, field: str, value: int, instead: str = "") -> dict[bytes, bytes]:
        redis.call("EVAL", MONTH.text, 1, "m", mode, field, value, 60_000, instead)
        found = redis.call("HGETALL", "m")
        return dict(zip(found[::2], found[1::2], strict=True))

    assert put("set", "w:a", 5000) == put("set", "w:a", 5000) == {b"used": b"5000", b"w:a": b"5000"}
    assert put("raise", "w:b", 2000)[b"used"] == b"7000"
    assert put("raise", "w:b", 1000)[b"used"] == b"7000"
    for _ in range(2):  # b is dead, and spent less than it was charged
        assert put("set", "s:here", 1500, "w:b") == {b"used": b"6500", b"w:a": b"5000", b"s:here": b"1500"}
    assert put("set", "w:a", 0)[b"used"] == b"1500"
    assert 0 < redis.call("PTTL", "m") <= 60_000


def test_keys_say_where_they_live() -> None:
    assert limit_key(Rate("{consumer:a}:rate", 1, 1, 1), "") == "tk:{consumer:a}:rate"
    assert limit_key(Rate("plain", 1, 1, 1), "") == "tk:{plain}"
    assert limit_key(Quota("{consumer:a}:month", 1), "2026-11") == "tk:{consumer:a}:month:2026-11"
    assert month_key("odd{}", "2026-11") == "tk:{odd{}}:2026-11"


def test_scripts_are_part_of_the_package() -> None:
    text = Path("pyproject.toml").read_text("utf-8")
    assert '"ledger/*.lua"' in text


def test_an_error_of_the_script_is_an_error(redis: Redis) -> None:
    redis.call("LPUSH", "tk:{r}", 1)
    with pytest.raises(hiredis.ReplyError, match="WRONGTYPE"):
        redis.ask(Rate("r", 1, SECOND, 1))


def test_reading_is_the_inverse_of_asking(redis: Redis) -> None:
    ask = Ask("c", (Need(Slots("s", 3, SECOND), 1000),))
    answer = read(ask, None, redis.run("take", ask))
    assert isinstance(answer, Grant) and answer.period == "" and answer.standings[0].remaining == 2000

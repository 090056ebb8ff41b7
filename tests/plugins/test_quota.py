"""Against the real ledger, in a time that the tests make."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import Exchange, Outcome
from gateway.http.head import read_head
from plugins.quota.header import Family, go_duration
from tests.plugins.shop import SECOND, Shop, lines_of

TIERS = """
tiers:
  free: {rate: 100/min, burst: 150, monthly: 1000}
  tiny: {rate: 1/s}
  month: {monthly: 3}
  open: {rate: unlimited}
  shared: {rate: 10/min, by: ip}
  device: {rate: 10/min, by: "header:x-client-id"}
  anonymous: {rate: 30/min, by: ip}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, TIERS)


@pytest.mark.parametrize("later", [False, True])
def test_a_charge_and_everything_that_is_told_of_it(shop: Shop, later: bool) -> None:
    shop.later = later
    exchange = shop.enter()
    assert (exchange.tier, exchange.units, exchange.month) == ("free", 1000, ("{consumer:acme}:month", "2026-11"))
    now = shop.site.wall_us // SECOND
    assert lines_of(exchange) == {
        "X-Quota-Tier": "free",
        "X-Quota-Monthly-Remaining": "999",
        "X-RateLimit-Limit": "150", "X-RateLimit-Remaining": "149", "X-RateLimit-Reset": str(now + 1),
        "x-ratelimit-limit-requests": "150", "x-ratelimit-remaining-requests": "149",
        "x-ratelimit-reset-requests": "600ms",
        "RateLimit-Policy": '"free";q=100;w=60', "RateLimit": '"free";r=149;t=1',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("families", "names"),
    [
        ((), set()),
        (("classic",), {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}),
        (("ietf",), {"RateLimit-Policy", "RateLimit"}),
    ],
)
def test_families_of_headers_are_a_choice(tmp_path: Path, families: tuple[Family, ...], names: set[str]) -> None:
    told = lines_of(Shop(tmp_path, TIERS, families).enter())
    assert told.keys() - {"X-Quota-Tier", "X-Quota-Monthly-Remaining"} == names


def test_the_burst_then_the_rate_exactly(shop: Shop) -> None:
    for left in range(149, -1, -1):
        assert lines_of(shop.enter())["X-RateLimit-Remaining"] == str(left)
    error = shop.refused()
    assert (error.number, error.status) == (1501, 429)
    assert error.headers == {"Retry-After": "1", "x-should-retry": "true"}
    assert error.message == "Tier free allows 100 requests per minute; 150 were used. Try again in 1 s."
    assert error.details == {
        "rule": "tier:free:rate", "limit": 150, "used": 150, "reset": shop.site.wall_us // SECOND + 90,
        "unit": "requests", "by": "consumer",
    }  # fmt: skip
    assert shop.last.rule == "tier:free:rate" and shop.last.units == 0
    assert lines_of(shop.last)["X-RateLimit-Remaining"] == "0"
    shop.site.advance(600_000 - 1)
    assert shop.refused().number == 1501
    shop.site.advance(1)
    shop.enter()
    assert shop.refused().number == 1501


def test_retry_after_is_true(shop: Shop) -> None:
    for _ in range(150):
        shop.enter()
    error = shop.refused(cost=10_000)
    wait = int(error.headers["Retry-After"])
    assert wait == 6
    shop.site.advance((wait - 1) * SECOND)
    assert shop.refused(cost=10_000).headers["Retry-After"] == "1"
    shop.site.advance(SECOND)
    shop.enter(cost=10_000)


def test_the_month(shop: Shop) -> None:
    for left in (2, 1, 0):
        exchange = shop.enter("month")
        assert lines_of(exchange) == {"X-Quota-Tier": "month", "X-Quota-Monthly-Remaining": str(left)}
    error = shop.refused(tier="month")
    assert (error.number, error.status, error.headers["x-should-retry"]) == (1502, 429, "false")
    assert (
        error.message
        == "Tier month allows 3 units a month; 3 were used. Wait for the next month, or ask for a larger tier."
    )
    assert error.details["rule"] == "tier:month:month"
    days = 10  # from 21 November
    assert int(error.headers["Retry-After"]) == days * 86_400
    shop.site.advance(days * 86_400 * SECOND)
    assert shop.enter("month").month == ("{consumer:acme}:month", "2026-12")


@pytest.mark.parametrize(("tier", "cost"), [("tiny", 1001), ("free", 150_001), ("month", 3001)])
def test_what_can_never_be_is_no_matter_of_waiting(shop: Shop, tier: str, cost: int) -> None:
    error = shop.refused(tier=tier, cost=cost)
    assert (error.number, error.status) == (1503, 400)
    assert "Retry-After" not in error.headers and error.headers["x-should-retry"] == "false"
    assert f"costs {cost / 1000:g} units" in error.message


def test_what_costs_nothing_is_neither_counted_nor_told(shop: Shop) -> None:
    exchange = shop.enter(cost=0)
    assert (exchange.lines, exchange.units, exchange.tier, shop.asked) == ([], 0, "free", 0)


def test_parts_of_units_are_told_rounded_down(shop: Shop) -> None:
    exchange = shop.enter(cost=500)
    assert (exchange.units, lines_of(exchange)["X-RateLimit-Remaining"]) == (500, "149")


def test_a_tier_without_limits_is_only_named(shop: Shop) -> None:
    exchange = shop.enter("open")
    assert lines_of(exchange) == {"X-Quota-Tier": "open"} and shop.asked == 0


def test_a_tier_that_is_gone_limits_nobody(shop: Shop) -> None:
    """A consumer of the store whose tier left the file: `check` cannot see it."""
    exchange = shop.enter("no-such-tier")
    assert exchange.lines == [] and shop.asked == 0


def test_without_a_tier_for_them_the_anonymous_are_free(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TIERS.replace("anonymous:", "other:"))
    assert shop.enter("").lines == []


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ({"tier": "free", "peer": "10.0.0.1"}, {"tier": "free", "peer": "10.0.0.2"}, True),  # the consumer's
        ({"tier": "shared", "peer": "10.0.0.1"}, {"tier": "shared", "peer": "10.0.0.2"}, False),
        ({"tier": "", "peer": "10.0.0.1"}, {"tier": "", "peer": "10.0.0.1"}, True),
        ({"tier": "", "peer": "10.0.0.1"}, {"tier": "", "peer": "10.0.0.2"}, False),
        ({"tier": "", "peer": "2001:db8::1"}, {"tier": "", "peer": "2001:db8::ffff:1"}, True),  # one /64, one customer
        ({"tier": "", "peer": "2001:db8::1"}, {"tier": "", "peer": "2001:db8:0:1::1"}, False),
        ({"tier": "", "peer": "fe80::1%eth0"}, {"tier": "", "peer": "fe80::2%eth1"}, True),
        ({"tier": "device", "x_client_id": "a"}, {"tier": "device", "x_client_id": "b"}, False),
        ({"tier": "device", "x_client_id": "a"}, {"tier": "device", "x_client_id": "a", "peer": "10.9.9.9"}, True),
        ({"tier": "device", "x_client_id": "x" * 128}, {"tier": "device", "x_client_id": "x" * 8000}, True),
        ({"tier": "device"}, {"tier": "device", "peer": "10.0.0.2"}, True),  # without the header: the consumer
        ({"tier": "", "peer": ""}, {"tier": "", "peer": ""}, True),  # a unix socket
    ],
)
def test_whose_bucket_it_is(shop: Shop, first: dict[str, Any], second: dict[str, Any], shared: bool) -> None:
    before = int(lines_of(shop.enter(**first))["X-RateLimit-Remaining"])
    after = int(lines_of(shop.enter(**second))["X-RateLimit-Remaining"])
    assert after == (before - 1 if shared else before)


@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_units_go_back_for_what_was_not_done(shop: Shop, outcome: Outcome | None) -> None:
    exchange = shop.enter()
    shop.leave(exchange, outcome)
    kept = outcome is None or outcome.keeps_units
    assert lines_of(shop.enter())["X-Quota-Monthly-Remaining"] == ("998" if kept else "999")


def test_log_of_a_request_that_was_never_charged(shop: Shop) -> None:
    for exchange in (shop.enter(cost=0), shop.enter("open")):
        shop.leave(exchange, Outcome.REFUSED)
    head = read_head(b"GET", b"/x", "1.1", [(b"host", b"a")])
    shop.leave(Exchange("never", head, "GET", "/x", 0.0), Outcome.REFUSED)


def test_a_ledger_that_is_down_is_503(shop: Shop) -> None:
    shop.is_down = True
    error = shop.refused()
    assert (error.number, error.status, error.headers) == (1601, 503, {"Retry-After": "1"})
    assert shop.last.units == 0


def test_callers_remembered_are_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.quota._BILLS", 10)
    for number in range(50):
        shop.enter("", peer=f"10.0.0.{number}")
    assert sum(len(plan.bills) for plan, _ in shop.plugin._plans.values()) == 10
    assert lines_of(shop.enter("", peer="10.0.0.0"))["X-RateLimit-Remaining"] == "43", "the ledger forgets nothing"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0ms"), (0.012, "12ms"), (0.0001, "1ms"), (1.0, "1s"), (1.2, "2s"), (59.9, "1m0s"), (360, "6m0s")],
)
def test_times_as_openai_writes_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_errors_fit_the_envelope(shop: Shop) -> None:
    for _ in range(3):
        shop.enter("month")
    error = json.loads(shop.refused(tier="month").body("rid"))["error"]
    assert (error["code"], error["type"]) == ("insufficient_quota", "rate_limit_error")

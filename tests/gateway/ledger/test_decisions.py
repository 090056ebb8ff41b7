"""Every answer of the authority equals the model's, to the microsecond and the milli-unit."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.limit import Ask, Denial, Grant, Need, Quota, Rate, Refund
from tests.gateway.ledger.authority import NewSite, Site
from tests.gateway.ledger.model import MONTH, MONTH_ENDS_US, SECOND, START_US, Model

MINUTE = 60 * SECOND
periods = st.sampled_from([SECOND, MINUTE, 3600 * SECOND, 999_983])
counts = st.integers(1, 20) | st.sampled_from([7, 100, 99_991, 100_000_000])
rates = st.builds(Rate, st.sampled_from(["a", "b"]), counts, periods, st.integers(1, 30) | st.integers(1, 10**8))
quotas = st.builds(Quota, st.just("month"), st.integers(0, 40))
costs = st.integers(1, 3000) | st.integers(1, 40).map(lambda units: 1000 * units)
pauses = st.integers(0, 3 * SECOND) | st.integers(0, 200 * SECOND)


@st.composite
def _limit_sets(draw: st.DrawFn) -> list[Rate | Quota]:
    return draw(st.lists(rates | quotas, min_size=1, max_size=3, unique_by=lambda limit: limit.key))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), limits=_limit_sets())
def test_answers_equal_the_model(new_site: NewSite, data: st.DataObject, limits: list[Rate | Quota]) -> None:
    site, model = new_site(), Model()
    for number in range(data.draw(st.integers(1, 25))):
        site.advance(data.draw(pauses))
        chosen = data.draw(st.lists(st.sampled_from(limits), min_size=1, unique_by=lambda limit: limit.key))
        needs = tuple(Need(limit, data.draw(costs)) for limit in chosen)
        if data.draw(st.integers(0, 4)):
            ask = Ask(str(number), needs)
            assert site.ledger.peek(ask) == (answer := model.ask(ask, site.now_us))
            assert site.ledger.ask("w", ask) == answer
        else:
            needs = tuple(Need(need.limit, need.cost * data.draw(st.sampled_from([1, -1]))) for need in needs)
            _refund_both(site, model, needs)
        if not data.draw(st.integers(0, 9)):
            site.crash()


def _refund_both(site: Site, model: Model, needs: tuple[Need, ...]) -> None:
    site.ledger.refund("w", Refund("r", needs, MONTH))
    model.refund(needs, site.now_us)


@pytest.mark.parametrize("count,burst", [(100, 150), (7, 7), (60_000, 90), (1, 1)])
def test_a_hammering_client_gets_burst_plus_rate(new_site: NewSite, count: int, burst: int) -> None:
    """150 at once and then one every 0.6 s at 100 a minute, and as exactly where the interval is a fraction."""
    site, rate = new_site(), Rate("r", count, MINUTE, burst)
    admitted = 0
    for step in range(400):
        site.now_us = START_US + step * 77_777
        while isinstance(site.ledger.ask(f"w{admitted % 3}", Ask("c", (Need(rate, 1000),))), Grant):
            admitted += 1
        assert admitted == burst + step * 77_777 * count // MINUTE


def test_a_conforming_client_is_never_refused(new_site: NewSite) -> None:
    site, rate = new_site(), Rate("r", 7, SECOND, 2)
    for number in range(3000):
        site.now_us = START_US + number * SECOND // 7
        assert isinstance(site.ledger.ask("w", Ask("c", (Need(rate, 1000),))), Grant), number


def test_a_wait_is_exact(new_site: NewSite) -> None:
    site, rate = new_site(), Rate("r", 7, SECOND, 3)
    for _ in range(3):
        site.ledger.ask("w", Ask("c", (Need(rate, 1000),)))
    denial = site.ledger.ask("w", Ask("c", (Need(rate, 1000),)))
    assert isinstance(denial, Denial) and denial.wait_us == -(-SECOND // 7)
    site.advance(denial.wait_us - 1)
    assert isinstance(site.ledger.ask("w", Ask("c", (Need(rate, 1000),))), Denial)
    site.advance(1)
    assert isinstance(site.ledger.ask("w", Ask("c", (Need(rate, 1000),))), Grant)


def test_a_refusal_leaves_the_other_limits_untouched(new_site: NewSite) -> None:
    site = new_site()
    wide, narrow, month = Rate("wide", 10, SECOND, 10), Rate("narrow", 1, MINUTE, 1), Quota("month", 10)
    needs = (Need(wide, 1000), Need(narrow, 1000), Need(month, 1000))
    assert isinstance(site.ledger.ask("w", Ask("1", needs)), Grant)
    denial = site.ledger.ask("w", Ask("2", needs))
    assert isinstance(denial, Denial) and denial.index == 1
    assert [standing.used for standing in denial.standings] == [1000, 1000, 1000]


def test_overrun_is_debt_and_debt_delays(new_site: NewSite) -> None:
    """Reserved 800 tokens, used 3,800, at 1,000 a minute: the next call waits for 168 s and its own token."""
    site, rate = new_site(), Rate("tokens", 1000, MINUTE, 1000)
    site.ledger.ask("w", Ask("1", (Need(rate, 800_000),)))
    site.ledger.refund("w", Refund("1", (Need(rate, -3_000_000),), ""))
    denial = site.ledger.ask("w", Ask("2", (Need(rate, 1000),)))
    assert isinstance(denial, Denial) and denial.wait_us == 168 * SECOND + 60_000
    assert denial.standings[0].remaining == 0 and denial.standings[0].used == 3_800_000


def test_debt_is_bounded(new_site: NewSite) -> None:
    site, rate = new_site(), Rate("r", 1, SECOND, 10)
    site.ledger.refund("w", Refund("1", (Need(rate, -(10**12)),), ""))
    denial = site.ledger.ask("w", Ask("2", (Need(rate, 1000),)))
    assert isinstance(denial, Denial) and denial.wait_us == 41 * SECOND


def test_a_refund_leaves_nothing_fuller_than_full(new_site: NewSite) -> None:
    site, needs = new_site(), (Need(Rate("r", 1, SECOND, 10), 5000), Need(Quota("q", 10), 5000))
    site.ledger.ask("w", Ask("1", needs))
    for _ in range(3):
        site.ledger.refund("w", Refund("1", needs, MONTH))
    answer = site.ledger.peek(Ask("2", tuple(Need(need.limit, 10_001) for need in needs)))
    assert [standing.remaining for standing in answer.standings] == [10_000, 10_000]


def test_a_cost_above_the_limit_is_unsatisfiable(new_site: NewSite) -> None:
    site, rate, month = new_site(), Rate("r", 100, MINUTE, 150), Quota("q", 50)
    for needs, index in [((Need(rate, 150_001),), 0), ((Need(rate, 1000), Need(month, 50_001)), 1)]:
        denial = site.ledger.ask("w", Ask("1", needs))
        assert isinstance(denial, Denial) and denial.unsatisfiable and denial.index == index
    assert isinstance(site.ledger.ask("w", Ask("2", (Need(rate, 150_000), Need(month, 50_000)))), Grant)


def test_a_changed_rate_applies_at_once_and_keeps_what_was_used(new_site: NewSite) -> None:
    site, old, new = new_site(), Rate("r", 100, MINUTE, 150), Rate("r", 7, SECOND, 70)
    site.ledger.ask("w", Ask("1", (Need(old, 10_000),)))  # 6 s of the old rate, 42 units of the new one
    grant = site.ledger.ask("w", Ask("2", (Need(new, 1000),)))
    assert grant.standings[0].used == 43_000
    denial = site.ledger.ask("w", Ask("3", (Need(old, 1000 * (150 - 10)),)))
    assert isinstance(denial, Denial) and denial.wait_us == -(-SECOND // 7)


def test_a_changed_quota_keeps_what_was_used(new_site: NewSite) -> None:
    site = new_site()
    site.ledger.ask("w", Ask("1", (Need(Quota("q", 100), 60_000),)))
    denial = site.ledger.ask("w", Ask("2", (Need(Quota("q", 50), 1000),)))
    assert isinstance(denial, Denial) and denial.wait_us == MONTH_ENDS_US - START_US
    assert denial.standings[0].remaining == 0 and denial.standings[0].used == 60_000
    assert isinstance(site.ledger.ask("w", Ask("3", (Need(Quota("q", 61), 1000),))), Grant)


@given(count=counts, period_us=periods, burst=st.integers(1, 1000))
@settings(max_examples=50, deadline=None)
def test_an_empty_bucket_is_full_again_after_burst_over_rate(
    new_site: NewSite, count: int, period_us: int, burst: int
) -> None:
    site, rate = new_site(), Rate("r", count, period_us, burst)
    grant = site.ledger.ask("w", Ask("1", (Need(rate, 1000 * burst),)))
    assert grant.standings[0].reset_us == -(-Fraction(burst * period_us, count) // 1)
    site.advance(grant.standings[0].reset_us)
    assert isinstance(site.ledger.ask("w", Ask("2", (Need(rate, 1000 * burst),))), Grant)

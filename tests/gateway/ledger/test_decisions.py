"""Every answer of the authority equals the model's, to the microsecond and the milli-unit."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Quota, Rate, Refund, Renew, Slots
from tests.gateway.ledger.authority import NewSite, Site
from tests.gateway.ledger.model import MONTH, MONTH_ENDS_US, SECOND, START_US, Model

MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
periods = st.sampled_from([SECOND, MINUTE, 3600 * SECOND, 999_983])
counts = st.integers(1, 20) | st.sampled_from([7, 100, 99_991, 100_000_000])
rates = st.builds(Rate, st.sampled_from(["a", "b"]), counts, periods, st.integers(1, 30) | st.integers(1, 10**8))
slots = st.builds(Slots, st.sampled_from(["s", "t"]), st.integers(0, 20), st.sampled_from([SECOND, MINUTE]))
zones = st.sampled_from(["UTC", "Europe/London", "Asia/Kathmandu", "America/St_Johns"])
costs = st.just(0) | st.integers(0, 3000) | st.integers(1, 40).map(lambda units: 1000 * units)
pauses = st.integers(0, 3 * SECOND) | st.integers(0, 200 * SECOND) | st.integers(0, 20 * DAY)
writers = st.sampled_from(["v", "w"])


class Trial:
    """The same questions to the authority and to the model."""

    def __init__(self, site: Site, data: st.DataObject) -> None:
        self._site = site
        self._model = Model(site)
        self._data = data
        self._granted: list[tuple[str, Ask, Grant]] = []  # with the writer
        self._limits = data.draw(_limit_sets())
        self._may_step = site.steps_wall and data.draw(st.booleans())  # else it may crash

    def run(self) -> None:
        for number in range(self._data.draw(st.integers(1, 25))):
            self._site.advance(self._data.draw(pauses))
            self._act(number, self._data.draw(st.sampled_from(["ask"] * 7 + ["correct"] * 3 + ["renew", "settle"])))
            if not self._data.draw(st.integers(0, 9)):
                if self._may_step:
                    self._site.step_wall(self._data.draw(st.integers(-40 * DAY, 40 * DAY)))
                else:
                    self._site.crash()

    def _act(self, number: int, action: str) -> None:
        writer = self._data.draw(writers)
        match action:
            case "ask":
                self._ask(writer, Ask(str(number), self._draw_needs()))
            case "settle":
                totals = {("m", MONTH): self._data.draw(costs)}
                assert self._site.ledger.settle(writer, totals) == self._model.settle(writer, totals)
            case "correct" | "renew" if self._granted:
                self._follow(action)

    def _ask(self, writer: str, ask: Ask) -> None:
        foreseen = self._site.ledger.peek(ask)
        answer = self._site.ledger.ask(writer, ask)
        assert answer == foreseen == self._model.ask(writer, ask)
        if isinstance(answer, Grant):
            self._granted.append((writer, ask, answer))

    def _follow(self, action: str) -> None:
        """Renew a charge, or correct it: by all, by some, or by so much that it becomes debt."""
        writer, ask, grant = self._data.draw(st.sampled_from(self._granted))
        if action == "renew":
            renew = Renew(ask.charge, tuple(need.limit for need in ask.needs if isinstance(need.limit, Slots)))
            for authority in (self._site.ledger, self._model):
                authority.renew(writer, renew)
            return
        charged = [need for place, need in enumerate(ask.needs) if place not in grant.shadowed]
        factor = self._data.draw(st.sampled_from([1, 1, -1, -5]))
        needs = tuple(Need(need.limit, need.cost * factor) for need in charged)
        for authority in (self._site.ledger, self._model):
            authority.refund(writer, Refund(ask.charge, needs, grant.period))

    def _draw_needs(self) -> tuple[Need, ...]:
        """Some limits, in any order; a quota or pool may have been made larger or smaller meanwhile."""
        chosen = self._data.draw(st.lists(st.sampled_from(self._limits), min_size=1, unique_by=lambda limit: limit.key))
        return tuple(
            Need(self._draw_change(limit), self._data.draw(costs), not self._data.draw(st.integers(0, 4)))
            for limit in chosen
        )

    def _draw_change(self, limit: Limit) -> Limit:
        if isinstance(limit, Rate) or self._data.draw(st.integers(0, 9)):
            return limit
        return msgspec.structs.replace(limit, limit=self._data.draw(st.integers(0, 40)))


@st.composite
def _limit_sets(draw: st.DrawFn) -> list[Limit]:
    zone, anchor = draw(zones), draw(st.sampled_from([1, 1, 15, 29, 30, 31]))
    quotas = st.builds(Quota, st.sampled_from(["m", "n"]), st.integers(0, 40), st.just(zone), st.just(anchor))
    return draw(st.lists(rates | quotas | slots, min_size=1, max_size=4, unique_by=lambda limit: limit.key))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_answers_equal_the_model(new_site: NewSite, data: st.DataObject) -> None:
    Trial(new_site(), data).run()


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

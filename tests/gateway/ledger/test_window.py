"""The promise of leases: in any window W at most B + rW + floor(1 % of B) is spent, whatever the workers do."""

import time
from collections import deque
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.ledger.limit import Ask, Grant, Need, Quota, Rate, Refund, Return
from tests.gateway.ledger.authority import NewSite, Site
from tests.gateway.ledger.model import SECOND


class Hoarder:
    """A worker that keeps the rules and nothing but the rules: it spends a lease whenever that hurts most."""

    def __init__(self, site: Site, rate: Rate, name: str) -> None:
        self._site = site
        self._rate = rate
        self._name = name
        self._leases: deque[tuple[str, int, int]] = deque()  # name, units, end
        self._asks = 0
        self.spent: list[tuple[int, int]] = []  # when, milli-units; negative for refunds

    def ask(self, cost: int, lease: int, delay_us: int) -> None:
        """Ask; the authority sees it `delay_us` later."""
        asked_us = self._site.now_us
        self._site.advance(delay_us)
        self._asks += 1
        charge = f"{self._name}-{self._asks}"
        answer = self._site.ledger.ask(self._name, Ask(charge, (Need(self._rate, cost),), lease))
        if isinstance(answer, Grant):
            self.spent.append((self._site.now_us, cost))
            if answer.lease:
                self._leases.append((charge, answer.lease, asked_us + answer.lease_us))

    def spend(self) -> None:
        """Spend every lease that has not ended."""
        for _, units, end_us in self._leases:
            if self._site.now_us < end_us:
                self.spent.append((self._site.now_us, units))
        self._leases = deque((charge, 0, end_us) for charge, _, end_us in self._leases)

    def give_back(self) -> None:
        """End the oldest lease, be it long expired."""
        if self._leases:
            charge, units, _ = self._leases.popleft()
            self._site.ledger.give_back(self._name, Return(charge, (self._rate,), units, ""))

    def refund(self) -> None:
        """Take the last spending back."""
        if self.spent and self.spent[-1][1] > 0:
            cost = self.spent[-1][1]
            self._site.ledger.refund(self._name, Refund("r", (Need(self._rate, cost),), ""))
            self.spent.append((self._site.now_us, -cost))


def _assert_bound(spent: list[tuple[int, int]], rate: Rate) -> None:
    """No window, from just before one spending to just after another, holds more than the bound. Linear time."""
    bound = 1000 * (rate.burst + rate.burst // 100)
    speed = Fraction(1000 * rate.count, rate.period_us)
    total, lowest = 0, Fraction(10**30)
    for at_us, units in sorted(spent, key=lambda event: event[0]):
        lowest = min(lowest, total - speed * at_us)
        total += units
        assert total - speed * at_us - lowest <= bound


steps = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "lease", "lease", "spend", "return", "refund", "pause", "crash"]),
    st.integers(0, 2),  # who
    st.integers(1, 3000) | st.integers(1, 200).map(lambda units: 1000 * units),
    st.integers(0, 1000) | st.integers(0, 1_100_000),
)


@settings(max_examples=400, deadline=None)
@given(
    rate=st.builds(
        Rate, st.just("r"), st.integers(1, 2000), st.sampled_from([SECOND, 60 * SECOND]), st.integers(1, 2000)
    ),
    schedule=st.lists(steps, max_size=60),
)
def test_the_window_bound_holds(new_site: NewSite, rate: Rate, schedule: list[tuple[str, int, int, int]]) -> None:
    site, began = new_site(), time.monotonic()
    workers = [Hoarder(site, rate, name) for name in "abc"]
    for action, who, units, us in schedule:
        worker = workers[who]
        match action:
            case "ask":
                worker.ask(units, 0, us % 5000)
            case "lease":
                worker.ask(1000, units, us % 5000)
            case "spend":
                worker.spend()
            case "return":
                worker.give_back()
            case "refund":
                worker.refund()
            case "pause":
                site.advance(us)
            case "crash":
                site.crash()
    for worker in workers:
        worker.spend()
    assume(time.monotonic() - began < 0.9)  # Redis forgets a full bucket a second later, by its own clock
    _assert_bound([event for worker in workers for event in worker.spent], rate)


def test_hoarding_reaches_the_bound_and_not_one_unit_more(new_site: NewSite) -> None:
    """The bound is tight: three workers hoard, the burst refills, and everything is spent in one moment."""
    site, rate = new_site(), Rate("r", 10_000, SECOND, 1000)
    workers = [Hoarder(site, rate, name) for name in "abc"]
    for worker in workers:
        worker.ask(1000, 100_000, 0)
    site.advance(999_999)
    for worker in workers:
        worker.spent.clear()
        worker.spend()
        worker.ask(1_000_000, 0, 0)
        worker.ask(1000, 0, 0)
    assert sum(units for worker in workers for _, units in worker.spent) == 1_010_000


def test_small_bursts_are_exact_and_never_leased(new_site: NewSite) -> None:
    site = new_site()
    grant = site.ledger.ask("w", Ask("1", (Need(Rate("r", 100, SECOND, 199), 1000),), 10_000))
    assert isinstance(grant, Grant) and grant.lease == 0


def test_the_smallest_share_wins(new_site: NewSite) -> None:
    site = new_site()
    needs = (Need(Rate("wide", 10**6, SECOND, 10**6), 1000), Need(Rate("r", 1000, SECOND, 800), 1000))
    grant = site.ledger.ask("w", Ask("1", needs, 10**9))
    assert isinstance(grant, Grant) and grant.lease == 8000
    grant = site.ledger.ask("w", Ask("2", (*needs, Need(Quota("q", 500), 1000)), 10**9))
    assert isinstance(grant, Grant) and grant.lease == 0, "the share of r is out"
    site.ledger.give_back("w", Return("1", tuple(need.limit for need in needs), 0, ""))
    grant = site.ledger.ask("w", Ask("3", (*needs, Need(Quota("q", 500), 1000)), 10**9))
    assert isinstance(grant, Grant) and grant.lease == 5000


def test_a_lease_takes_only_what_is_free(new_site: NewSite) -> None:
    site, rate = new_site(), Rate("r", 1, 60 * SECOND, 1000)
    site.ledger.ask("w", Ask("1", (Need(rate, 995_000),)))
    grant = site.ledger.ask("w", Ask("2", (Need(rate, 1000),), 10_000))
    assert isinstance(grant, Grant) and grant.lease == 4000 and grant.standings[0].remaining == 0


def test_the_share_is_free_again_when_leases_end(new_site: NewSite) -> None:
    site, rate = new_site(), Rate("r", 1000, SECOND, 1000)
    ask = Ask("1", (Need(rate, 1000),), 10_000)
    assert site.ledger.ask("a", ask).lease == 10_000
    site.advance(999_999)
    assert site.ledger.ask("b", Ask("2", ask.needs, 10_000)).lease == 0
    site.advance(1)
    assert site.ledger.ask("b", Ask("3", ask.needs, 10_000)).lease == 10_000


def test_a_returned_lease_is_credited(new_site: NewSite) -> None:
    site, rate, month = new_site(), Rate("r", 1, 60 * SECOND, 1000), Quota("q", 1000)
    needs = (Need(rate, 1000), Need(month, 1000))
    grant = site.ledger.ask("w", Ask("1", needs, 10_000))
    site.ledger.give_back("w", Return("1", (rate, month), 7000, grant.period))
    assert site.used(rate, month) == [4000, 4000]


def test_a_lease_takes_only_what_is_left_of_the_month(new_site: NewSite) -> None:
    site, month = new_site(), Quota("q", 1000)
    site.ledger.ask("w", Ask("1", (Need(month, 995_000),)))
    assert site.ledger.ask("w", Ask("2", (Need(month, 1000),), 10_000)).lease == 4000


def test_a_lease_that_would_not_pay_for_one_more_request_is_none(new_site: NewSite) -> None:
    site, rate = new_site(), Rate("r", 1, 60 * SECOND, 1000)
    assert site.ledger.ask("w", Ask("1", (Need(rate, 11_000),), 20_000)).lease == 0
    assert site.ledger.ask("w", Ask("2", (Need(rate, 10_000),), 20_000)).lease == 10_000


def test_a_full_bucket_is_remembered_while_a_lease_is_out(new_site: NewSite) -> None:
    site, rate = new_site(), Rate("r", 10**6, SECOND, 1000)
    assert site.ledger.ask("a", Ask("1", (Need(rate, 1000),), 10_000)).lease == 10_000
    site.advance(1000)  # full again
    for number in range(5):
        site.ledger.ask("b", Ask("2", (Need(Rate(f"other{number}", 1, SECOND, 1), 1000),)))
    assert site.ledger.ask("b", Ask("3", (Need(rate, 1000),), 10_000)).lease == 0
    site.restart()
    assert site.ledger.ask("c", Ask("4", (Need(rate, 1000),), 10_000)).lease == 0

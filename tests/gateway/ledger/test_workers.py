"""Several wallets on one authority: whatever they do, what is used is what was spent, and no window holds too much."""

import asyncio
import itertools
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.lease import Account, Charge, Cost
from gateway.ledger.limit import Quota, Rate, Slots
from tests.gateway.ledger.authority import NewSite, Site
from tests.gateway.ledger.line import Line
from tests.gateway.ledger.model import SECOND

MONTHLY = Quota("month", 10**7)
POOL = Slots("pool", 3, 60 * SECOND)
rates = st.builds(
    Rate, st.just("r"), st.integers(1, 2000), st.just(SECOND), st.sampled_from([50, 199, 200, 1000, 3000])
)
steps = st.tuples(
    st.sampled_from(
        ["take", "take", "take", "mixed", "mixed", "burst", "refund", "settle", "cancel", "slow", "sweep", "drain"]
    ),
    st.integers(0, 2),
    st.integers(1, 4).map(lambda units: 500 * units),
    st.integers(0, 30_000) | st.integers(0, 400_000),
)
Schedule = list[tuple[str, int, int, int]]


class Fleet:
    """Three workers that share a rate, a month and some slots."""

    def __init__(self, site: Site, rate: Rate) -> None:
        self._site = site
        self._lines = [Line(site, name) for name in "abc"]
        self._account = Account((rate, MONTHLY))
        self._mixed = Account((POOL, rate, MONTHLY))
        self._charges: list[tuple[Line, Charge]] = []
        self.admitted: list[tuple[int, int]] = []  # when, milli-units; negative for refunds
        self.used = 0
        self._numbers = itertools.count()

    async def perform(self, action: str, who: int, cost: int) -> None:
        line = self._lines[who]
        match action:
            case "take" | "burst":
                takes = [self._take(line, cost) for _ in range(30 if action == "burst" else 1)]
                await asyncio.gather(*takes)
            case "mixed":
                await self._take(line, (1000, cost, 3 * cost))
            case "refund" | "settle" if self._charges:
                self._correct(*self._charges.pop(), is_used=action == "settle")
            case "cancel":
                await self._leave(line, cost)
            case "slow":
                line.is_slow = True
                late = asyncio.gather(*(self._take(line, cost) for _ in range(3)))
                await asyncio.sleep(0)
                line.deliver()
                await late
                line.is_slow = False
            case "sweep":
                line.sweep()
            case "drain":
                line.wallet.drain()

    async def _take(self, line: Line, cost: Cost) -> None:
        account = self._account if isinstance(cost, int) else self._mixed
        charge = await line.take(account, cost, str(next(self._numbers)))
        if isinstance(charge, Charge):
            self._charges.append((line, charge))
            self._count(*_figures(charge, charge.cost))

    async def _leave(self, line: Line, cost: int) -> None:
        """A client that goes away while its request waits for the authority, if it has to."""
        line.is_slow = True
        taking = asyncio.ensure_future(self._take(line, cost))
        await asyncio.sleep(0)
        taking.cancel()
        line.deliver()
        await asyncio.wait([taking])
        await asyncio.sleep(0)
        line.is_slow = False

    def _correct(self, line: Line, charge: Charge, is_used: bool) -> None:
        used: Cost = 1500 if is_used else 0
        if is_used and charge.account is self._mixed:
            used = (1000, 1500, 700)
        line.wallet.settle(charge, used)
        taken, truth = _figures(charge, charge.cost), _figures(charge, used)
        self._count(truth[0] - taken[0], truth[1] - taken[1])

    def _count(self, units: int, of_month: int) -> None:
        self.admitted.append((self._site.now_us, units))
        self.used += of_month

    @property
    def held(self) -> int:
        return 1000 * sum(charge.account is self._mixed for _, charge in self._charges)

    def drain(self) -> None:
        for line in self._lines:
            line.wallet.drain()


def _figures(charge: Charge, cost: Cost) -> tuple[int, int]:
    """What a cost means for the rate and for the month."""
    rate, month = charge.account.spread(cost)[-2:]
    return rate, month


async def _play(site: Site, rate: Rate, schedule: Schedule) -> Fleet:
    fleet = Fleet(site, rate)
    for action, who, cost, pause_us in schedule:
        site.advance(pause_us)
        await fleet.perform(action, who, cost)
    fleet.drain()
    return fleet


@settings(max_examples=150, deadline=None)
@given(rate=rates, schedule=st.lists(steps, max_size=60))
def test_used_is_what_was_spent(new_site: NewSite, rate: Rate, schedule: Schedule) -> None:
    site = new_site()
    fleet = asyncio.run(_play(site, rate, schedule))
    assert site.used(MONTHLY) == [fleet.used]
    assert site.used(POOL) == [fleet.held]


@settings(max_examples=150, deadline=None)
@given(rate=rates, schedule=st.lists(steps.filter(lambda step: step[0] != "settle"), max_size=60))
def test_no_window_holds_too_much(new_site: NewSite, rate: Rate, schedule: Schedule) -> None:
    fleet = asyncio.run(_play(new_site(), rate, schedule))
    bound, speed = 1000 * (rate.burst + rate.burst // 100), Fraction(1000 * rate.count, rate.period_us)
    total, lowest = 0, Fraction(10**30)
    for at_us, units in fleet.admitted:
        lowest = min(lowest, total - speed * at_us)
        total += units
        assert total - speed * at_us - lowest <= bound

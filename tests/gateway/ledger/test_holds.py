"""The wallet with slots, shadows and a cost per limit: what it asks, renews and gives back."""

import asyncio

import pytest

from gateway.ledger.lease import Account, Charge
from gateway.ledger.limit import Ask, Denial, LedgerDown, Need, Quota, Rate, Refund, Renew, Slots
from tests.gateway.ledger.authority import NewSite
from tests.gateway.ledger.line import ACCOUNT, MONTHLY, RATE, Line
from tests.gateway.ledger.model import MONTH, SECOND

TTL = 60 * SECOND
POOL = Slots("pool", 2, TTL)
TOKENS = Rate("tokens", 1000, 60 * SECOND, 1000)
MIXED = Account((RATE, MONTHLY, TOKENS, POOL))
COSTS = (1000, 1000, 300_000, 1000)


@pytest.fixture
def line(new_site: NewSite) -> Line:
    return Line(new_site(), "w")


async def _charge(line: Line, account: Account = MIXED, cost: int | tuple[int, ...] = COSTS, name: str = "c") -> Charge:
    charge = await line.take(account, cost, name)
    assert isinstance(charge, Charge)
    return charge


async def test_each_limit_is_charged_its_own_cost(line: Line) -> None:
    charge = await _charge(line)
    assert charge.cost == COSTS and charge.period == MONTH
    assert [standing.used for standing in charge.standings] == list(COSTS)
    assert line.site.used(*MIXED.limits) == list(COSTS)


async def test_a_charge_is_settled_limit_by_limit_once(line: Line) -> None:
    """Less was used of one, more of another; slots come back though it says that they were used."""
    charge = await _charge(line)
    for used in ((1000, 0, 900_000, 1000), 0, COSTS):
        line.wallet.settle(charge, used)
    assert line.site.used(*MIXED.limits) == [1000, 0, 900_000, 0]
    needs = (Need(MONTHLY, 1000), Need(TOKENS, -600_000), Need(POOL, 1000))
    assert line.sent[1:] == [Refund("c", needs, MONTH)]


async def test_an_overrun_is_debt_that_refuses_even_a_cost_of_nothing(line: Line) -> None:
    line.wallet.settle(await _charge(line), (1000, 1000, 1_600_000, 0))
    denial = await line.take(MIXED, (1000, 1000, 0, 1000))
    assert isinstance(denial, Denial) and denial.index == 2 and denial.wait_us == 36 * SECOND


async def test_a_refund_gives_all_back(line: Line) -> None:
    line.wallet.refund(await _charge(line))
    assert line.site.used(*MIXED.limits) == [0, 0, 0, 0]


async def test_a_slot_is_held_as_long_as_the_request_lives(line: Line) -> None:
    charge = await _charge(line)
    for _ in range(6000):
        line.site.advance(SECOND // 10)
        line.sweep()
        assert line.site.used(POOL) == [1000]
    renewals = line.sent[1:]
    assert renewals == [Renew("c", (POOL,))] * 30, "every 20 s"
    line.wallet.settle(charge, COSTS)
    line.site.advance(TTL)
    line.sweep()
    assert len(line.sent) == 32 and line.site.used(POOL) == [0]


async def test_what_is_not_held_is_not_renewed(line: Line) -> None:
    free, full = Slots("free", 5, TTL), Slots("full", 0, TTL // 2)
    account = Account((free, full, POOL), frozenset({1}))
    await _charge(line, account, (0, 1000, 1000))
    await _charge(line, account, (0, 0, 0), "nothing")
    line.site.advance(TTL // 3)
    line.sweep()
    assert line.sent[2:] == [Renew("c", (POOL,))]


async def test_the_shortest_time_decides_when(line: Line) -> None:
    short = Slots("short", 5, 3 * SECOND)
    await _charge(line, Account((POOL,)), 1000, "long")
    await _charge(line, Account((POOL, short)), 1000, "short")
    line.site.advance(SECOND - 1)
    line.sweep()
    assert len(line.sent) == 2
    line.site.advance(1)
    line.sweep()
    assert line.sent[2:] == [Renew("short", (POOL, short))]


async def test_slots_of_a_dead_worker_come_back(line: Line) -> None:
    for name in "ab":
        await _charge(line, name=name)
    other = Line(line.site, "other")
    assert isinstance(await other.take(MIXED, COSTS), Denial)
    line.site.advance(TTL)
    assert isinstance(await other.take(MIXED, COSTS), Charge)


async def test_full_slots_are_asked_for_each_time(line: Line) -> None:
    """They may come free at any moment, and nobody says so."""
    account = Account((POOL,))
    for name in "ab":
        await _charge(line, account, 1000, name)
    assert isinstance(await line.take(account), Denial)
    line.site.ledger.refund("w", Refund("a", account.needs(1000), ""))
    assert isinstance(await line.take(account), Charge)


async def test_a_denial_of_a_rate_is_repeated_for_an_account_with_slots(line: Line) -> None:
    account = Account((Rate("slow", 1, SECOND, 1), POOL))
    await line.take(account)
    for _ in range(5):
        denial = await line.take(account)
        assert isinstance(denial, Denial) and denial.index == 0
    assert line.asks == 2


async def test_a_denial_of_one_cost_each_is_asked_again(line: Line) -> None:
    for _ in range(3):
        assert isinstance(await line.take(MIXED, (1000, 1000, 2_000_000, 1000)), Denial)
    assert line.asks == 3
    assert isinstance(await line.take(MIXED, 1000), Charge)


@pytest.mark.parametrize(
    ("account", "cost"),
    [
        (MIXED, 500),
        (ACCOUNT, (1000, 1000)),
        (Account((RATE, MONTHLY), frozenset({1})), 1000),
    ],
)
async def test_nothing_is_leased_where_it_may_not_be(line: Line, account: Account, cost: int | tuple[int, ...]) -> None:
    for number in range(12):
        line.wallet.settle(await _charge(line, account, cost, str(number)), cost)
    assert [message.lease for message in line.sent if isinstance(message, Ask)] == [0] * 12


async def test_a_lease_serves_one_cost_for_all_while_others_ask(line: Line) -> None:
    await line.lend()
    asks = line.asks
    await _charge(line, ACCOUNT, (2000, 1000))
    assert line.asks == asks + 1 and line.sent[-1] == Ask("c", ACCOUNT.needs((2000, 1000)))
    await _charge(line, ACCOUNT, 1000)
    assert line.asks == asks + 1
    line.wallet.drain()
    assert line.site.used(RATE, MONTHLY) == [11_000, 10_000]


async def test_a_shadow_is_told_and_never_given_back(line: Line) -> None:
    few = Quota("few", 1)
    account = Account((RATE, few, POOL), frozenset({1, 2}))
    charges = [await _charge(line, account, 1000, str(number)) for number in range(3)]
    assert [charge.shadowed for charge in charges] == [(), (1,), (1, 2)]
    assert line.site.used(*account.limits) == [3000, 1000, 2000]
    for charge in reversed(charges[1:]):
        line.wallet.refund(charge)
    assert line.site.used(*account.limits) == [1000, 1000, 1000]
    line.wallet.settle(charges[0], 5000)
    assert line.site.used(*account.limits) == [5000, 5000, 0]


async def test_a_client_that_leaves_while_asking_holds_no_slot(line: Line) -> None:
    line.is_slow = True
    taking = asyncio.ensure_future(line.take(MIXED, COSTS))
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert line.site.used(POOL) == [1000]
    line.deliver()
    await asyncio.sleep(0)
    assert line.site.used(*MIXED.limits) == [0, 0, 0, 0]
    line.site.advance(TTL)
    line.sweep()
    assert not any(isinstance(message, Renew) for message in line.sent)


async def test_a_peek_tells_what_a_take_would_and_charges_nothing(line: Line) -> None:
    for name in "ab":
        seen = await line.wallet.peek(MIXED, COSTS)
        charge = await _charge(line, name=name)
        assert isinstance(seen, Charge) and seen.standings == charge.standings and seen.period == MONTH
    denial = await line.wallet.peek(MIXED, COSTS)
    assert isinstance(denial, Denial) and denial.index == 3
    assert line.site.used(POOL, MONTHLY) == [2000, 2000]
    line.is_cut = True
    with pytest.raises(LedgerDown):
        await line.wallet.peek(MIXED, COSTS)


@pytest.mark.parametrize(
    ("limits", "shadow"),
    [
        ((Quota("a", 1, "UTC", 1), Quota("b", 1, "UTC", 15)), frozenset()),
        ((Quota("a", 1, "UTC", 0),), frozenset()),
        ((Quota("a", 1, "UTC", 32),), frozenset()),
        ((POOL,), frozenset({1})),
    ],
)
def test_an_account_that_makes_no_sense_is_refused(
    limits: tuple[Rate | Quota | Slots, ...], shadow: frozenset[int]
) -> None:
    with pytest.raises(ValueError):
        Account(limits, shadow)


async def test_costs_must_be_as_many_as_limits(line: Line) -> None:
    with pytest.raises(ValueError):
        await line.take(MIXED, (1000, 1000))

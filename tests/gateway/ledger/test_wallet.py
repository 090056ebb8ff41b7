"""The worker's wallet against a real authority, at the other end of a line that the test can hold up or cut."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gateway.ledger.lease import Account, Charge, Wallet
from gateway.ledger.limit import Ask, Denial, Grant, LedgerDown, Quota, Rate, Refund, Return
from gateway.link import Link, Peek
from tests.gateway.ledger.authority import NewSite
from tests.gateway.ledger.line import ACCOUNT, MONTHLY, RATE, Line
from tests.gateway.ledger.model import MONTH, SECOND


@pytest.fixture
def line(new_site: NewSite) -> Line:
    return Line(new_site(), "w")


async def test_the_first_take_asks_no_lease_and_a_busy_one_what_it_spent(line: Line) -> None:
    for _ in range(20):
        assert isinstance(await line.take(), Charge)
    asks = [message.lease for message in line.sent if isinstance(message, Ask)]
    assert asks == [0, 1000, 3000, 7000, 15_000], "it doubles"


async def test_a_held_lease_is_spent_without_asking(line: Line) -> None:
    await line.lend()
    asks = line.asks
    answer = line.wallet.take(ACCOUNT, "now", 1000)
    assert isinstance(answer, Charge) and line.asks == asks
    assert (answer.id, answer.cost, answer.period) == ("now", 1000, MONTH)


async def test_what_is_held_is_known(line: Line) -> None:
    assert line.wallet.held == 0
    await line.lend()
    held = line.wallet.held
    assert held > 0
    line.wallet.take(ACCOUNT, "now", 1000)
    assert line.wallet.held == held - 1000
    line.wallet.drain()
    assert line.wallet.held == 0


async def test_standings_are_those_of_a_single_bucket(line: Line) -> None:
    """What the worker holds counts as remaining; leases are invisible to the client."""
    for number in range(30):
        charge = await line.take()
        assert isinstance(charge, Charge)
        assert [s.remaining for s in charge.standings] == [999_000 - 1000 * number, 99_999_000 - 1000 * number]
        assert [s.used for s in charge.standings] == [1000 + 1000 * number] * 2


async def test_a_peek_tells_what_the_next_take_does(line: Line) -> None:
    await line.lend()
    foreseen, taken = await line.wallet.peek(ACCOUNT, 1000), await line.take()
    assert isinstance(foreseen, Charge) and isinstance(taken, Charge)
    assert [s.remaining for s in foreseen.standings] == [s.remaining for s in taken.standings]
    assert [s.used for s in foreseen.standings] == [s.used for s in taken.standings]


async def test_reset_counts_down_on_a_lease(line: Line) -> None:
    await line.lend()
    first = await line.take()
    line.site.advance(1000)
    second = await line.take()
    assert isinstance(first, Charge) and isinstance(second, Charge)
    assert [a.reset_us - b.reset_us for a, b in zip(first.standings, second.standings, strict=True)] == [1000, 1000]


async def test_a_refund_goes_to_the_authority_once_and_never_into_the_lease(line: Line) -> None:
    await line.lend()
    charge = await line.take()
    assert isinstance(charge, Charge)
    used = line.site.used(RATE, MONTHLY)
    line.wallet.refund(charge)
    line.wallet.refund(charge)
    assert line.site.used(RATE, MONTHLY) == [used[0] - 1000, used[1] - 1000]
    assert sum(isinstance(message, Refund) for message in line.sent) == 1


async def test_a_charge_is_settled_to_what_was_used(line: Line) -> None:
    charges = [await line.take(cost=5000) for _ in range(3)]
    for charge, used in zip(charges, (2000, 9000, 5000), strict=True):
        assert isinstance(charge, Charge)
        line.wallet.settle(charge, used)
    line.wallet.drain()
    assert line.site.used(RATE, MONTHLY) == [16_000, 16_000]
    assert sum(isinstance(message, Refund) for message in line.sent) == 2, "nothing to correct, nothing sent"


async def test_a_standing_denial_costs_nobody_anything(line: Line) -> None:
    account = Account((Rate("slow", 1, SECOND, 1),))
    await line.take(account)
    line.site.advance(100_000)
    denial = await line.take(account)
    assert isinstance(denial, Denial) and denial.wait_us == 900_000
    line.site.advance(400_000)
    again = line.wallet.take(account, "again", 1000)
    assert isinstance(again, Denial) and line.asks == 2
    assert (again.charge, again.wait_us, again.standings[0].reset_us) == ("again", 500_000, 500_000)
    assert isinstance(await line.take(account, cost=500), Charge), "a lower cost is another question"
    line.site.advance(500_000)
    assert isinstance(await line.take(account, cost=500), Charge)


async def test_a_denial_is_asked_again_after_a_second(line: Line) -> None:
    """Another worker may have refunded."""
    account = Account((Quota("few", 1),))
    await line.take(account)
    assert isinstance(await line.take(account), Denial)
    line.site.ledger.refund("w", Refund("c", account.needs(1000), MONTH))
    assert isinstance(await line.take(account), Denial)
    line.site.advance(SECOND)
    assert isinstance(await line.take(account), Charge)


async def test_an_own_refund_ends_a_denial(line: Line) -> None:
    account = Account((Quota("few", 1),))
    charge = await line.take(account)
    assert isinstance(charge, Charge) and isinstance(await line.take(account), Denial)
    line.wallet.refund(charge)
    assert isinstance(await line.take(account), Charge)


async def test_an_unsatisfiable_cost_is_remembered_too(line: Line) -> None:
    for _ in range(10):
        denial = await line.take(cost=1_000_001)
        assert isinstance(denial, Denial) and denial.unsatisfiable
    assert line.asks == 1


async def test_an_idle_lease_goes_back(line: Line) -> None:
    await line.lend()
    line.site.advance(100_000)
    line.sweep()
    assert line.site.used(MONTHLY) == [15_000], "still held"
    line.site.advance(100_000)
    line.sweep()
    assert line.site.used(MONTHLY) == [8000]


async def test_a_lease_is_not_spent_after_its_end(line: Line) -> None:
    """It is counted from the moment of asking, so it ends before the authority thinks so."""
    await line.take()
    line.is_slow = True
    taking = asyncio.ensure_future(line.take())
    await asyncio.sleep(0)
    line.site.advance(999_999)
    line.deliver()
    await taking
    assert isinstance(line.wallet.take(ACCOUNT, "last", 500), Charge)
    line.site.advance(1)
    answer = line.wallet.take(ACCOUNT, "late", 500)
    assert not isinstance(answer, Charge | Denial)
    line.is_slow = False
    await answer
    line.wallet.drain()
    assert line.site.used(MONTHLY) == [3000]


async def test_a_busy_lease_goes_back_at_its_end(line: Line) -> None:
    await line.lend()
    for _ in range(6):
        line.site.advance(160_000)
        await line.take()
        line.sweep()
    assert line.site.used(MONTHLY) == [15_000], "still held"
    line.site.advance(40_000)
    line.sweep()
    assert line.site.used(MONTHLY) == [14_000]


async def test_drain_gives_everything_back_and_holds_nothing_more(line: Line) -> None:
    await line.lend()
    line.wallet.drain()
    assert line.site.used(MONTHLY) == [8000]
    for _ in range(5):
        await line.take()
    assert line.site.used(MONTHLY) == [13_000]


async def test_a_lease_that_comes_after_the_drain_goes_back(line: Line) -> None:
    await line.spend_all()
    line.is_slow = True
    taking = asyncio.ensure_future(line.take())
    await asyncio.sleep(0)
    assert line.site.used(MONTHLY) == [26_000], "with a lease on its way"
    line.wallet.drain()
    line.deliver()
    await taking
    assert line.site.used(MONTHLY) == [16_000]


async def test_of_many_takes_at_once_one_asks_for_a_lease(line: Line) -> None:
    await line.take()
    line.is_slow = True
    taking = [asyncio.ensure_future(line.take()) for _ in range(50)]
    await asyncio.sleep(0)
    line.deliver()
    await asyncio.gather(*taking)
    assert sum(message.lease > 0 for message in line.sent if isinstance(message, Ask)) == 1
    line.wallet.drain()
    assert line.site.used(MONTHLY) == [51_000]


async def test_a_request_that_leaves_while_asking_pays_nothing(line: Line) -> None:
    await line.take()
    line.is_slow = True
    taking = asyncio.ensure_future(line.take())
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert line.site.used(MONTHLY) == [3000], "one charge, one lost, one leased"
    line.deliver()
    await asyncio.sleep(0)
    line.is_slow = False
    assert isinstance(line.wallet.take(ACCOUNT, "leased", 1000), Charge), "its lease serves others"
    line.wallet.drain()
    assert line.site.used(MONTHLY) == [2000]


async def test_a_cut_line_is_ledger_down_and_the_next_ask_may_lease(line: Line) -> None:
    await line.take()
    line.is_slow = True
    taking = [asyncio.ensure_future(line.take()) for _ in range(2)]
    await asyncio.sleep(0)
    taking[0].cancel()  # the one that asked for a lease
    await asyncio.sleep(0)
    line.cut()
    with pytest.raises(LedgerDown):
        await taking[1]
    line.is_slow = False
    await line.take()
    assert isinstance(line.sent[-1], Ask) and line.sent[-1].lease > 0


async def test_no_second_lease_is_asked_for_while_one_is_on_its_way(line: Line) -> None:
    await line.spend_all()
    line.is_slow = True
    first = asyncio.ensure_future(line.take())
    await asyncio.sleep(0)
    line.is_slow = False
    for _ in range(2):
        await line.take()
    assert [message.lease for message in line.sent[-2:] if isinstance(message, Ask)] == [0, 0]
    line.deliver()
    await first


def _others(number: int) -> list[Account]:
    return [Account((Rate(f"r{index}", 1, SECOND, 9),)) for index in range(number)]


async def test_a_forgotten_account_gives_its_lease_back(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.ledger.lease._ACCOUNTS", 10)
    await line.lend()
    for account in _others(30):
        await line.take(account)
    assert line.site.used(MONTHLY) == [8000]
    assert len(line.wallet._holdings) == 10


async def test_a_lease_for_a_forgotten_account_goes_back(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.ledger.lease._ACCOUNTS", 10)
    await line.spend_all()
    line.is_slow = True
    late = asyncio.ensure_future(line.take())
    await asyncio.sleep(0)
    line.is_slow = False
    for account in _others(30):
        await line.take(account)
    assert line.site.used(MONTHLY) == [26_000]
    line.deliver()
    await late
    assert line.site.used(MONTHLY) == [16_000]


async def test_the_account_that_asked_longest_ago_is_forgotten(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.ledger.lease._ACCOUNTS", 3)
    first, second, third, fourth = _others(4)
    for account in (first, second, third, first, fourth):
        await line.take(account)
    assert list(line.wallet._holdings) == [third.key, first.key, fourth.key]


@pytest.mark.parametrize(
    "limits",
    [
        (),
        (RATE, RATE),
        (Quota("a", 1, "UTC"), Quota("b", 1, "Europe/London")),
        (Quota("a", 1, "../etc/passwd"),),
        (Quota("a", 1, "Europe/Atlantis"),),
        (Quota("a", 1, "Europe"),),
    ],
)
def test_an_account_that_cannot_be_charged_is_refused(limits: tuple[Rate | Quota, ...]) -> None:
    with pytest.raises(ValueError):
        Account(limits)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


async def test_over_a_real_link(new_site: NewSite, pair: tuple[socket.socket, socket.socket]) -> None:
    """Two hundred takes at once, twice, on a burst of 300: exactly 300 pass."""
    site, loop = new_site(), asyncio.get_running_loop()
    account = Account((Rate("r", 1, 86_400 * SECOND, 300), MONTHLY))

    def serve(message: Ask | Refund | Return) -> Grant | Denial | None:
        if isinstance(message, Ask):
            return site.ledger.ask("w", message)
        return site.ledger.refund("w", message) if isinstance(message, Refund) else site.ledger.give_back("w", message)

    _, server = await loop.create_connection(lambda: Link(serve, around=site.ledger.batch), sock=pair[0])
    _, client = await loop.create_connection(lambda: Link(print), sock=pair[1])
    wallet = Wallet(client.call, client.tell, loop.time, lambda ask: client.call(Peek(ask)))

    async def take(account: Account) -> bool:
        answer = wallet.take(account, "c", 1000)
        return isinstance(answer if isinstance(answer, Charge | Denial) else await answer, Charge)

    taken = [sum(await asyncio.gather(*(take(account) for _ in range(200)))) for _ in range(2)]
    server.close()
    with pytest.raises(LedgerDown):
        await take(ACCOUNT)
    assert sum(taken) == 300

"""A worker's wallet on a real Redis: late and lost answers, outages, what is told afterwards, clusters."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.account import Account, Charge, Policy
from gateway.ledger.clock import Clock
from gateway.ledger.lease import Wallet
from gateway.ledger.limit import Ask, Denial, Grant, LedgerDown, Need, Quota, Rate, Refund, Renew, Slots
from gateway.ledger.period import month_at
from gateway.ledger.redis import RedisLedger
from gateway.ledger.script import index_key, month_key
from gateway.ledger.share import Share
from gateway.redis.location import parse_location
from tests.redis import Caller, Server, running_cluster, running_redis

SECOND = 1_000_000
DAY = 86_400 * SECOND
RATE = Rate("{consumer:acme}:rate", 100, 60 * SECOND, 150)
MONTH = Quota("{consumer:acme}:month", 1_000_000)
SLOTS = Slots("{consumer:acme}:slots", 3, 60 * SECOND)


class Replica:
    """The supervisor's part, without a link."""

    def __init__(self) -> None:
        self.share = Share(Clock())
        self.changes: list[bool] = []
        self.degraded: Counter[str] = Counter()
        self.answers = 0

    def ask(self, ask: Ask) -> asyncio.Future[Grant | Denial]:
        return _done(self.share.ask("w", ask))

    def tell(self, message: Refund | Renew) -> None:
        if isinstance(message, Refund):
            self.share.refund("w", message)
        else:
            self.share.renew("w", message)

    def change(self, is_up: bool) -> asyncio.Future[Refund]:
        self.changes.append(is_up)
        return _done(self.share.end() if is_up else Refund("", (), ""))

    def observe(self, seconds: float) -> None:
        self.answers += 1

    def degrade(self, policy: str) -> None:
        self.degraded[policy] += 1


def _done(value: Any) -> Any:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


class Till:
    """A ledger, its wallet, and a short way to take."""

    def __init__(self, url: str, writer: str = "w1") -> None:
        self.replica = Replica()
        self.ledger = RedisLedger(parse_location(url), writer, self.replica)
        self.wallet = Wallet(self.ledger.send, self.ledger.tell, time.monotonic, self.ledger.look)
        self._charges = 0

    async def take(self, account: Account, cost: Any = 1000) -> Charge | Denial:
        self._charges += 1
        answer = self.wallet.take(account, f"c{self._charges}", cost)
        return answer if isinstance(answer, Charge | Denial) else await answer


@asynccontextmanager
async def opened(server: Server, writer: str = "w1") -> AsyncIterator[Till]:
    till = Till(server.url, writer)
    await till.ledger.start()
    try:
        yield till
    finally:
        till.ledger.close()
        await asyncio.sleep(0.01)


@pytest.fixture
def server() -> Iterator[Server]:
    with running_redis() as server:
        yield server


async def until(check: Callable[[], Any], within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, f"not within {within:g} s"
        await asyncio.sleep(0.01)


def counter(server: Server, quota: Quota = MONTH) -> dict[str, int]:
    """The fields of this month's counter, in units."""
    name = month_at(time.time_ns() // 1000, quota.zone, quota.anchor).name
    fields = server.call("HGETALL", month_key(quota.key, name))
    return {key.decode(): int(value) // 1000 for key, value in zip(fields[::2], fields[1::2], strict=True)}


async def test_a_charge_a_denial_and_what_redis_holds(server: Server) -> None:
    account = Account((RATE, MONTH, SLOTS))
    async with opened(server) as till:
        charges = [await till.take(account) for _ in range(3)]
        assert all(isinstance(charge, Charge) and not charge.mode for charge in charges)
        denial = await till.take(account)
        assert isinstance(denial, Denial) and denial.index == 2 and denial.wait_us == SECOND
        assert isinstance(charges[0], Charge) and isinstance(charges[1], Charge)
        till.wallet.settle(charges[0], (1000, 1000, 0))
        till.wallet.refund(charges[1])
        peeked = await till.wallet.peek(account, 0)
        assert isinstance(peeked, Charge) and [s.used for s in peeked.standings[1:]] == [2000, 1000]
    assert counter(server) == {"used": 2, "w:w1": 2}
    assert server.call("SMEMBERS", index_key("w1"))


async def test_everything_in_redis_ends_by_itself(server: Server) -> None:
    async with opened(server) as till:
        await till.take(Account((RATE, MONTH, SLOTS)))
    lives = {key.decode(): server.call("PTTL", key) / 1000 for key in server.call("KEYS", "*")}
    assert len(lives) == 6 and all(life > 0 for life in lives.values()), lives
    month = month_at(time.time_ns() // 1000, "UTC")
    left = (month.end_us / 1e6 - time.time()) + 35 * 86_400
    assert abs(lives[f"tk:{MONTH.key}:{month.name}"] - left) < 5
    assert 1 < lives[f"tk:{RATE.key}"] < 2.1  # 0.6 s of backlog, and a second


async def test_leases_are_spent_and_returned(server: Server) -> None:
    account = Account((Rate("{c}:fast", 100_000, SECOND, 100_000), MONTH))
    async with opened(server) as till:
        for _ in range(2000):
            assert isinstance(await till.take(account), Charge)
        assert till.replica.answers < 100
        till.wallet.drain()
        await till.take(account)
    assert counter(server) == {"used": 2001, "w:w1": 2001}


async def test_two_workers_share_a_rate(server: Server) -> None:
    account = Account((Rate("{c}:slow", 1, DAY, 150),))
    async with opened(server) as one, opened(server, "w2") as two:
        answers: list[object] = []
        for _ in range(20):  # a few at once: a busy machine must answer them within the budget of 50 ms
            answers += await asyncio.gather(*[till.take(account) for till in (one, two) for _ in range(5)])
    assert sum(isinstance(answer, Charge) for answer in answers) == 150


async def test_a_late_answer_is_refunded(server: Server) -> None:
    """Two timeouts do not open the breaker; their charges are undone when Redis tells of them."""
    async with opened(server) as till:
        account = Account((Rate("{c}:slow", 1, DAY, 150), MONTH))
        await till.take(account)
        server.signal(signal.SIGSTOP)
        late = await asyncio.gather(*[till.take(account) for _ in range(2)])
        assert {charge.mode for charge in late if isinstance(charge, Charge)} <= {"degraded"}
        server.signal(signal.SIGCONT)
        await asyncio.sleep(0.1)
        granted = 1 + sum(isinstance(charge, Charge) for charge in late)
        await until(lambda: counter(server)["used"] == granted)


async def test_a_lost_answer_is_corrected_on_the_next_connection(server: Server) -> None:
    """Nobody knows whether the charges on a broken line were made: the month is told anew."""
    async with opened(server) as till:
        account = Account((MONTH,))
        till.wallet.drain()  # no leases
        charge = await till.take(account)
        assert isinstance(charge, Charge)
        with Caller(server.port) as caller:
            pending = [asyncio.ensure_future(till.take(account)) for _ in range(20)]
            await asyncio.sleep(0)
            caller.call("CLIENT", "KILL", "TYPE", "normal")
        charges = [charge, *await asyncio.gather(*pending)]
        till.wallet.refund(charge)
        await until(lambda: till.ledger.client.is_up)
        await till.take(account)
        await until(lambda: counter(server) == {"used": len(charges), "w:w1": len(charges)})


async def test_a_memory_that_was_lost_is_told_again(server: Server) -> None:
    async with opened(server) as till:
        accounts = [Account((Quota(f"{{c{n}}}:month", 1000),)) for n in range(120)]
        for account in accounts:
            await till.take(account)
        server.call("FLUSHALL")
        till.ledger.months.recount()
        await until(lambda: len(server.call("KEYS", "tk:{c*")) == 120)
        assert counter(server, accounts[7].limits[0]) == {"used": 1, "w:w1": 1}  # type: ignore[arg-type]
        till.ledger.months.recount()
        await asyncio.sleep(0.1)
        assert counter(server, accounts[7].limits[0]) == {"used": 1, "w:w1": 1}  # type: ignore[arg-type]


async def test_f31_local_months_are_granted_and_told_afterwards(server: Server) -> None:
    async with opened(server) as till:
        account = Account((MONTH,))
        before = await till.take(account)
        server.kill()
        await until(lambda: till.replica.changes == [False])
        charges = [await till.take(account) for _ in range(50)]
        assert all(isinstance(c, Charge) and c.mode == "degraded" for c in charges)
        assert isinstance(charges[-1], Charge) and charges[-1].standings[0].used == 51_000
        assert isinstance(charges[0], Charge) and isinstance(before, Charge)
        till.wallet.refund(charges[0])
        till.wallet.refund(before)
        server.start()
        await until(lambda: till.replica.changes == [False, True])
        assert counter(server) == {"used": 49, "w:w1": 49}
        assert isinstance(charges[1], Charge)
        till.wallet.refund(charges[1])
        await until(lambda: counter(server)["used"] == 48)


async def test_f31_local_rates_are_a_share_that_starts_empty(server: Server) -> None:
    async with opened(server) as till:
        till.replica.share.replicas = 4
        account = Account((Rate("{c}:r", 400, SECOND, 400),))
        server.kill()
        await until(lambda: till.replica.changes == [False])
        begun, granted = time.monotonic(), 0
        assert isinstance(await till.take(account), Denial), "empty"
        while (passed := time.monotonic() - begun) < 0.6:
            answer = await till.take(account)
            granted += isinstance(answer, Charge)
            await asyncio.sleep(0.001)
        assert 0.7 * passed * 100 <= granted <= passed * 100 + 1
        assert till.replica.degraded["local"] > granted


async def test_what_the_share_granted_is_reported_back(server: Server) -> None:
    async with opened(server) as till:
        account = Account((Rate("{c}:r", 1000, SECOND, 1000),))
        server.signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(till.ledger.client.call("k", "PING"), 0.06)
        await asyncio.gather(*[till.take(account) for _ in range(5)])
        await until(lambda: till.replica.changes == [False])
        await asyncio.sleep(0.2)
        spent = 0
        while isinstance(await till.take(account, 10_000), Charge) or spent == 0:
            spent += 10
        server.signal(signal.SIGCONT)
        await until(lambda: till.replica.changes == [False, True], 8.0)
        assert spent >= 100
        assert till.replica.share.end().needs == (), "it was told, and forgotten"


async def test_closed_and_open(server: Server) -> None:
    async with opened(server) as till:
        policies: dict[Policy, Account] = {
            "closed": Account((RATE, MONTH), policy="closed"),
            "open": Account((RATE, MONTH, SLOTS), policy="open"),
        }
        server.kill()
        await until(lambda: not till.ledger.client.is_up)
        with pytest.raises(LedgerDown):
            await till.take(policies["closed"])
        charges = [await till.take(policies["open"]) for _ in range(200)]
        assert all(isinstance(charge, Charge) and charge.mode == "degraded" for charge in charges)
        assert till.replica.degraded == {"closed": 1, "open": 200}
        server.start()
        await until(lambda: till.ledger.client.is_up)
        assert counter(server)["used"] == 200


async def test_an_outage_costs_a_request_next_to_nothing(server: Server) -> None:
    async with opened(server) as till:
        server.kill()
        await until(lambda: not till.ledger.client.is_up)
        account, times = Account((RATE, MONTH)), []
        for _ in range(200):
            begun = time.perf_counter()
            await till.take(account)
            times.append(time.perf_counter() - begun)
        assert sorted(times)[100] < 0.001


async def test_f37_months_go_by_the_clock_of_redis(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose clock is two months late charges the same counter as one whose clock is right."""
    async with opened(server) as right, opened(server, "late") as late:
        await right.take(Account((MONTH,)))
        now = time.time_ns()
        monkeypatch.setattr("gateway.ledger.redis._wall_us", lambda: now // 1000 - 62 * DAY)
        charge = await late.take(Account((MONTH,)))
        assert isinstance(charge, Charge) and charge.standings[0].used == 2000
    assert counter(server) == {"used": 2, "w:w1": 1, "w:late": 1}


async def test_slots_are_renewed_and_end_with_their_worker(server: Server) -> None:
    account = Account((Slots("{c}:s", 1, 300_000),))
    async with opened(server) as till, opened(server, "w2") as other:
        charge = await till.take(account)
        assert isinstance(charge, Charge)
        for _ in range(8):
            await asyncio.sleep(0.08)
            till.wallet.sweep(time.monotonic())
        assert isinstance(await other.take(account), Denial)
        till.wallet.settle(charge, 1000)
        await asyncio.sleep(0.02)
        assert isinstance(await other.take(account), Charge)
        await asyncio.sleep(0.35)  # nobody renews it
        assert isinstance(await till.take(account), Charge)


async def test_a_cluster_takes_all_limits_or_none() -> None:
    wide = Rate("{model:gpt}:rate", 1, DAY, 10)
    project = Quota("{project:x}:month", 100)
    account = Account((Rate("{consumer:acme}:rate", 1, DAY, 7), MONTH, project, wide))
    with running_cluster() as servers:
        async with opened(servers[0]) as till:
            assert till.ledger.client.is_cluster
            answers = [await till.take(account) for _ in range(20)]
            assert sum(isinstance(answer, Charge) for answer in answers) == 7
            denial = answers[-1]
            assert isinstance(denial, Denial) and denial.index == 0 and denial.standings[3].used == 7000
            peeked = await till.wallet.peek(account, 0)
            assert [standing.used for standing in peeked.standings] == [7000, 7000, 7000, 7000]
            first = answers[0]
            assert isinstance(first, Charge)
            till.wallet.refund(first)
            await asyncio.sleep(0.05)
            peeked = await till.wallet.peek(account, 0)
            assert [standing.used for standing in peeked.standings] == [6000, 6000, 6000, 6000]
            assert isinstance(await till.take(Account((wide, SLOTS))), Charge)


async def test_a_cluster_gives_back_what_it_took_before_a_node_died() -> None:
    with running_cluster() as servers:
        for server in servers:
            server.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        async with opened(servers[0]) as till:
            client = till.ledger.client
            doomed = client.nodes[0]
            keys = {node.name: f"{node.probe_key[3:]}:month" for node in client.nodes}
            other = next(name for name in keys if name != doomed.name)
            account = Account((Quota(keys[doomed.name], 100), Quota(keys[other], 100)), policy="closed")
            next(server for server in servers if doomed.name.endswith(f":{server.port}")).kill()
            await until(lambda: not doomed.is_up)
            with pytest.raises(LedgerDown):
                await till.take(account)
            await asyncio.sleep(0.05)
            peeked = await till.ledger.look(Ask("p", (Need(Quota(keys[other], 100), 0),)))
            assert peeked.standings[0].used == 0


async def test_the_least_permissions_suffice(server: Server) -> None:
    """The line that gateway/redis/README.md tells operators to write."""
    notes = Path("gateway/redis/README.md").read_text("utf-8")
    rules = next(line for line in notes.splitlines() if "ACL SETUSER tollkeeper" in line).split()[3:]
    server.call("ACL", "SETUSER", "tollkeeper", *rules, ">secret")
    till = Till(f"redis://tollkeeper:secret@127.0.0.1:{server.port}")
    await till.ledger.start()
    charge = await till.take(Account((RATE, MONTH, SLOTS)))
    assert isinstance(charge, Charge) and not charge.mode
    till.wallet.refund(charge)
    till.ledger.months.recount()
    for command in (
        ["INFO", "server"],
        ["EXISTS", "tk:x"],
        ["SMEMBERS", "tk:x"],
        ["SET", "tk:x", 1, "NX"],
        ["DEL", "tk:x"],
    ):
        await till.ledger.client.call("tk:x", *command)
    assert till.ledger.client.is_up
    till.ledger.close()


async def test_a_look_that_is_given_up_harms_nobody(server: Server) -> None:
    async with opened(server) as till:
        account = Account((MONTH,))
        for _ in range(50):
            look = asyncio.ensure_future(till.wallet.peek(account, 1000))
            take = asyncio.ensure_future(till.take(account))
            await asyncio.sleep(0)
            look.cancel()
            assert isinstance(await take, Charge)
        assert till.ledger.client.is_up and till.replica.changes == []

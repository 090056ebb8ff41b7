"""Guessing of credentials (S09)."""

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.ledger.lease import Account, Charge
from gateway.ledger.limit import Denial, LedgerDown, Standing
from gateway.relay.guard import Guard
from gateway.settings.units import Rate
from tests.gateway.http.peers import eventually
from tests.gateway.relay.stage import KEY, Stage


class Site:
    """Time by hand, and a ledger that grants, denies or is down."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.mode = "grant"
        self.taken: list[str] = []
        self.clock = SimpleNamespace(monotonic=lambda: self.now, wall=lambda: 5000.0)
        self.ledger = self

    def take(self, account: Account, charge: str, cost: int) -> Charge | Denial | Awaitable[Charge | Denial]:
        self.taken.append(account.limits[0].key)

        async def answer() -> Charge | Denial:
            if self.mode == "down":
                raise LedgerDown("gone")
            if self.mode == "deny":
                return Denial(charge, 0, 7_000_000, False, (Standing(0, 7_000_000, 0),))
            return Charge(account, charge, cost, "", (), held=0, age=0.0)

        return answer()


@pytest.fixture
def site() -> Site:
    return Site()


async def make(site: Any, rate: Rate) -> Guard:
    guard = Guard(rate)
    await guard.start(site)
    return guard


async def knock(guard: Guard, peer: str = "192.0.2.7", failure: int = 1002) -> GatewayError | None:
    """One request from `peer`; the refusal of the guard, else None. `failure`: what the plugins say of it."""
    exchange = Exchange("id", read_head(b"GET", b"/", "1.1", [(b"host", b"a")]), "GET", "/", 0.0)
    exchange.peer = peer
    try:
        guard.access(exchange)
    except GatewayError as error:
        exchange.error = error
        assert exchange.rule == "failed_logins"
    if exchange.error is None and failure:
        exchange.error = GatewayError(failure)
    guard.log(exchange)
    await asyncio.sleep(0)
    return exchange.error if exchange.error is not None and exchange.error.number == 1508 else None


async def test_s09_an_address_has_its_failures_and_no_more(site: Site) -> None:
    guard = await make(site, Rate(5, 60))
    assert [await knock(guard) for _ in range(5)] == [None] * 5
    refused = await knock(guard)
    assert refused is not None
    assert (refused.status, refused.headers) == (429, {"Retry-After": "12", "x-should-retry": "true"})
    assert refused.details == {"rule": "failed_logins", "limit": 5, "used": 5, "reset": 5012}
    assert await knock(guard, failure=0) is not None, "a right guess is not told from a wrong one"
    assert await knock(guard, "192.0.2.8") is None, "others are not concerned"
    assert len(site.taken) == 6, "who is refused is not charged again"
    site.now += 12.0
    assert await knock(guard) is None
    assert await knock(guard) is not None
    site.now += 60.0
    assert [await knock(guard) for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("number", [1002, 1003, 1005])
async def test_what_is_a_failure(site: Site, number: int) -> None:
    guard = await make(site, Rate(1, 60))
    await knock(guard, failure=number)
    assert await knock(guard) is not None


@pytest.mark.parametrize("number", [0, 1001, 1004, 1102, 1501])
async def test_what_is_none(site: Site, number: int) -> None:
    guard = await make(site, Rate(1, 60))
    assert [await knock(guard, failure=number) for _ in range(9)] == [None] * 9
    assert site.taken == []


async def test_one_customer_of_ipv6_is_one_address(site: Site) -> None:
    guard = await make(site, Rate(3, 60))
    for host in range(3):
        assert await knock(guard, f"2001:db8:1:2::{host}") is None
    assert await knock(guard, "2001:db8:1:2:ffff::1") is not None
    assert await knock(guard, "2001:db8:1:3::1") is None
    assert set(site.taken) == {"{ip:2001:db8:1:2::/64}:failed_logins", "{ip:2001:db8:1:3::/64}:failed_logins"}


async def test_clients_of_a_unix_socket_have_no_address(site: Site) -> None:
    guard = await make(site, Rate(1, 60))
    assert [await knock(guard, "") for _ in range(9)] == [None] * 9


async def test_what_other_workers_saw_counts(site: Site) -> None:
    guard = await make(site, Rate(5, 60))
    site.mode = "deny"
    assert await knock(guard) is None, "this worker learns it by asking"
    refused = await knock(guard)
    assert refused is not None and refused.headers["Retry-After"] == "7"
    site.now += 7.0
    assert await knock(guard) is None


async def test_s09_without_the_ledger_a_worker_counts_alone(site: Site) -> None:
    guard = await make(site, Rate(3, 60))
    site.mode = "down"
    assert [await knock(guard) is None for _ in range(5)] == [True, True, True, False, False]


async def test_addresses_that_are_remembered_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.guard._ADDRESSES", 10)
    guard = await make(site, Rate(1, 60))
    for host in range(30):
        await knock(guard, f"192.0.2.{host}")
    assert len(guard._suspects) == 10


async def test_s09_ten_thousand_wrong_keys(stage: Stage) -> None:
    """As many as need not wait for hours: thirty are looked at in a minute, whatever the number."""
    await stage.start("plugins: [key_auth]")
    numbers: list[int] = []
    for start in range(0, 200, 20):
        tries = [stage.ask("GET", "/v1/models", key=f"wrong-key-{start + n}") for n in range(20)]
        numbers += [answer.number for answer in await asyncio.gather(*tries)]
    assert set(numbers) == {1002, 1508}
    assert 30 <= numbers.count(1002) <= 30 + 20 + 10, "beside those under way, one in two seconds"
    refused = await stage.ask("GET", "/v1/models", key=KEY)
    assert (refused.status, refused.number) == (429, 1508), "a valid key as well"
    assert int(refused.header("retry-after") or 0) >= 1
    assert (await stage.ask("GET", "/errors/1508", key="")).status == 200, "where nobody is asked who he is"
    await eventually(lambda: len(stage.closed()) == 202)

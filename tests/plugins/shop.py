"""The quota plugin with its services, against the real ledger, in a time that the tests make."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange, Outcome
from gateway.http.head import read_head
from gateway.ledger.account import Account, Charge, Cost
from gateway.ledger.limit import Ask, Denial, Grant, LedgerDown
from gateway.price import compile_price, price_tokens
from gateway.settings.load import load_text
from gateway.settings.schema import Config
from gateway.wire import parse_object
from plugins.quota import Plugin, Settings
from plugins.quota.header import Family
from tests.gateway.ledger.authority import EmbeddedSite

SECOND = 1_000_000


class Shop:
    """A ledger that answers at once or later, or not at all; what is told and counted is noted."""

    def __init__(self, folder: Path, config: str, families: tuple[Family, ...] | None = None) -> None:
        self.site = EmbeddedSite(folder)
        self.config: Config = load_text(config, {})
        self.later = False
        self.is_down = False
        self.asked = 0
        self.count = 0
        self.told: list[tuple[str, str, Any]] = []
        self.counted: list[tuple[str, ...]] = []
        self.gauges: dict[tuple[str, ...], float] = {}
        self.plugin = Plugin(Settings() if families is None else Settings(headers=families))
        services: Any = SimpleNamespace(
            ledger=self, tiers=self.config.tiers, models=self.config.models,
            routes={route.path: route for route in self.config.routes},
            clock=SimpleNamespace(wall=lambda: self.site.wall_us / 1e6), metrics=self,
            notify=lambda *told: self.told.append(told),
        )  # fmt: skip
        asyncio.run(self.plugin.start(services))

    # --- as the ledger

    def take(self, account: Account, charge: str, cost: Cost) -> Any:
        if self.is_down:
            return self._fail()
        self.asked += 1
        answer: Grant | Denial = self.site.ledger.ask("w", Ask(charge, account.needs(cost)))
        result = answer if isinstance(answer, Denial) else _charge(account, cost, answer)
        return self._wait(result) if self.later else result

    async def peek(self, account: Account, cost: Cost) -> Any:
        answer = self.site.ledger.peek(Ask("", account.needs(cost)))
        return answer if isinstance(answer, Denial) else _charge(account, cost, answer)

    async def _wait(self, answer: Any) -> Any:
        await asyncio.sleep(0)
        return answer

    async def _fail(self) -> None:
        raise LedgerDown

    def refund(self, charge: Charge) -> None:
        self.settle(charge, 0)

    def settle(self, charge: Charge, used: Cost) -> None:
        assert not charge.is_settled
        charge.is_settled = True
        if (correction := charge.correct(used)) is not None:
            self.site.ledger.refund("w", correction)

    # --- as the metrics

    def rejected(self, rule: str, reason: str) -> None:
        self.counted.append((rule, reason))

    def set(self, name: str, value: float, *labels: str) -> None:
        self.gauges[name, *labels] = value

    # --- requests

    def enter(
        self, tier: str = "free", cost: int = 1000, peer: str = "10.0.0.1", who: Credential | None = None,
        body: dict[str, Any] | None = None, route: str = "/x", **headers: str,
    ) -> Exchange:  # fmt: skip
        """A request; an empty tier has no key. A `body` names its model."""
        self.count += 1
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        head = read_head(b"POST", b"/x", "1.1", [(b"host", b"a"), *fields])
        exchange = Exchange(f"r{self.count}", head, "POST", "/x", float(self.count))
        exchange.peer, exchange.cost, exchange.route = peer, cost, route
        exchange.credential = who or (Credential("k", "acme", tier) if tier else None)
        if body is not None:
            exchange.fields = parse_object(json.dumps(body).encode(), 8)
            exchange.model = exchange.model_label = body["model"]
        self.last = exchange
        asyncio.run(self._access(exchange))
        return exchange

    async def _access(self, exchange: Exchange) -> None:
        await self.plugin.access(exchange)

    def refused(self, **request: Any) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            self.enter(**request)
        return caught.value

    def leave(
        self, exchange: Exchange, outcome: Outcome | None = Outcome.COMPLETE, prompt: int = 0, completion: int = 0
    ) -> None:
        """The end, with what the engine counted; money is worked out as the witness does."""
        exchange.outcome = outcome
        exchange.tokens.prompt, exchange.tokens.completion = prompt, completion
        model = self.config.models.get(exchange.model_label)
        if model is not None and model.price is not None:
            exchange.money = price_tokens(compile_price(model.price), prompt, completion)
        self.plugin.log(exchange)

    def limits(self, **request: Any) -> dict[str, Any]:
        """What the caller is told of himself, by rule."""
        exchange = self.enter(cost=0, **request)
        told = asyncio.run(self._describe(exchange))
        return {limit["rule"]: limit for limit in told["limits"]}

    async def _describe(self, exchange: Exchange) -> Any:
        return await self.plugin.describe(exchange)


def _charge(account: Account, cost: Cost, grant: Grant) -> Charge:
    return Charge(account, grant.charge, cost, grant.period, grant.standings, 0, 0.0, shadowed=grant.shadowed)


def lines_of(exchange: Exchange) -> dict[str, str]:
    lines = "".join(exchange.lines).split("\r\n")
    assert lines.pop() == ""
    pairs = [line.partition(": ") for line in lines]
    assert len({name.lower() for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}

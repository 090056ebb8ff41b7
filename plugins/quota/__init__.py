"""What a caller may spend: requests, tokens, money, and how much at once.

    tiers:
      free:      {rate: 100/min, monthly: 50_000}
      pro:       {rate: 1000/min, tokens: 100_000/min, monthly_tokens: 50_000_000, concurrency: 20,
                  budget: 500 USD/month,
                  limits: [{rate: 10/s, by: ip}, {tokens: 20_000/min, by: model}, {concurrency: 2, by: session}]}
      anonymous: {rate: 30/min, by: ip}
    models:
      gpt: {backend: hosted, price: {input: 0.15, output: 0.60}, max_tokens: 4096, limits: [{tokens: 1_000_000/min}]}
    plugins:
      - quota: {}

All limits of a request (its tier's, its model's, its route's) are charged together, or none is. A request costs route
cost x model cost; 0 is exempt and neither counted nor told about. Tokens and money are reserved before it is sent (see
`reserve`) and settled to what was used when it is over (the table in the relay's README); what it took beyond is debt.
A model without a price costs no money.

A caller without a key has the tier `anonymous`, if there is one; an override takes a tier's place while it lasts. `by`
says who shares a limit; several words are joined by `+`; a caller who lacks one (no session) is counted without it. A
limit in `shadow` is counted and refuses nobody (`rejected_total{reason="shadow"}`).

Refusals: 1501 (rate), 1504 (at once), 1505 (tokens): try again; 1502, 1506, 1507 (month of requests, of tokens, of
money): not in minutes; 1503: can never be. `headers` names the families that answers carry; the limit they tell is the
burst, of which `remaining` is what is left. The classic and the OpenAI family tell of the tier's own `rate` and
`tokens`, the IETF family of every rate.
"""

from collections.abc import Hashable, Mapping
from typing import Any

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Charge, Cost, Denial, Exchange, LedgerDown, Services
from plugins.quota.bill import Bill, Plan
from plugins.quota.header import Family, Header
from plugins.quota.refusal import figures, refuse
from plugins.quota.reserve import reserve
from plugins.quota.rule import rules_of_model, rules_of_route, rules_of_tier
from plugins.quota.threshold import Thresholds

ANONYMOUS = "anonymous"
_BILLS = 20_000  # compiled bills that are kept


class Settings(BaseSettings, frozen=True):
    headers: tuple[Family, ...] = ("classic", "openai", "ietf")


class Plugin(BasePlugin[Settings]):
    place = "charge"
    needs = "model"

    async def start(self, services: Services) -> None:
        self._services = services
        self._ledger = services.ledger
        self._tiers = services.tiers
        self._wall = services.clock.wall
        self._thresholds = Thresholds(services)
        self._plans: dict[tuple[str, str, str], tuple[Plan, Header]] = {}  # by tier, model and route
        self._count = 0  # of bills

    async def access(self, exchange: Exchange) -> None:
        bill, header = self._find_bill(exchange)
        account = bill.account
        if exchange.cost == 0:
            return
        if account is None:
            if header.fixed:
                exchange.lines.append(header.fixed)
            return
        cost = exchange.cost if bill.plan.is_plain else reserve(bill.plan, exchange)
        try:
            taken = self._ledger.take(account, exchange.id, cost)
            answer = taken if isinstance(taken, Charge | Denial) else await taken
        except LedgerDown:
            raise GatewayError(1601, headers={"Retry-After": "1"}) from None
        if isinstance(answer, Denial):
            raise self._refuse(exchange, bill, header, answer, cost)
        exchange.notes[self] = bill, answer
        exchange.units = exchange.cost
        standings = answer.standings
        exchange.lines.append(header.tell(standings, self._wall()))
        if answer.mode:
            exchange.set_header("X-RateLimit-Mode", answer.mode)
        if bill.plan.months:
            self._book(exchange, bill, answer)
            if exchange.received >= bill.watched:
                self._thresholds.watch(exchange, bill, standings)
        for at in answer.shadowed:
            self._services.metrics.rejected(bill.plan.rules[at].name, "shadow")

    def log(self, exchange: Exchange) -> None:
        note: tuple[Bill, Charge] | None = exchange.notes.get(self)
        if note is None:
            return
        bill, charge = note
        if not bill.plan.is_plain:
            pairs = zip(bill.plan.rules, charge.account.spread(charge.cost), strict=True)
            self._ledger.settle(charge, tuple([exchange.used(rule.unit, cost) for rule, cost in pairs]))
        elif exchange.outcome is not None and not exchange.outcome.keeps_units:
            self._ledger.refund(charge)

    async def describe(self, exchange: Exchange) -> Mapping[str, Any]:
        """The caller's tier, and how each limit stands that does not hang on what a request asks for."""
        bill, _ = self._find_bill(exchange)
        told: dict[str, Any] = {"tier": bill.plan.name, "limits": []}
        if bill.account is not None:
            try:
                answer = await self._ledger.peek(bill.account, 0)
            except LedgerDown:
                raise GatewayError(1601, headers={"Retry-After": "1"}) from None
            pairs = zip(bill.plan.rules, answer.standings, strict=True)
            known = [figures(rule, standing, self._wall()) for rule, standing in pairs]
            told["limits"] = [limit for at, limit in enumerate(known) if at not in bill.missing]
        return told

    def _find_bill(self, exchange: Exchange) -> tuple[Bill, Header]:
        credential = exchange.credential
        name = ANONYMOUS
        if credential is not None:
            name = credential.tier if not credential.override_tier else self._overridden(exchange)
        known = self._plans.get((name, exchange.model_label, exchange.route)) or self._make_plan(name, exchange)
        plan, header = known
        exchange.tier = plan.name
        subject = plan.find_subject(exchange)
        return plan.bills.get(subject) or self._make_bill(plan, subject, exchange), header

    def _overridden(self, exchange: Exchange) -> str:
        """The tier in force of somebody who has an override; one that left the file overrides nothing."""
        assert exchange.credential is not None
        name = exchange.credential.tier_at(self._wall())
        return name if name in self._tiers else exchange.credential.tier

    def _make_plan(self, name: str, exchange: Exchange) -> tuple[Plan, Header]:
        tier = self._tiers.get(name)
        model = self._services.models.get(exchange.model_label)
        route = self._services.routes.get(exchange.route)
        rules = [
            *(rules_of_tier(name, tier) if tier is not None else ()),
            *(rules_of_model(exchange.model_label, model) if model is not None else ()),
            *(rules_of_route(exchange.route, route) if route is not None else ()),
        ]
        plan = Plan(name if tier is not None else "", tier, model, rules)
        made = self._plans[name, exchange.model_label, exchange.route] = plan, Header(plan, self.settings.headers)
        return made

    def _make_bill(self, plan: Plan, subject: Hashable, exchange: Exchange) -> Bill:
        """Compiled at the first request of a caller. When there are too many, all are compiled anew as they come."""
        self._count += 1
        if self._count > _BILLS:
            self._count = 1
            for other, _ in self._plans.values():
                other.bills.clear()
        bill = plan.bills[subject] = plan.make_bill(exchange)
        return bill

    def _book(self, exchange: Exchange, bill: Bill, charge: Charge) -> None:
        """Tell the journal which months were charged."""
        bill.period = charge.period
        limits = charge.account.limits
        exchange.month = (limits[bill.plan.month_at].key if bill.plan.month_at >= 0 else "", charge.period)
        if len(bill.plan.months) > (bill.plan.month_at >= 0):
            costs = charge.account.spread(charge.cost)
            exchange.charges = tuple(
                [
                    (limits[at].key, bill.plan.rules[at].unit, costs[at])
                    for at in bill.plan.months
                    if at != bill.plan.month_at and at not in charge.shadowed
                ]
            )

    def _refuse(self, exchange: Exchange, bill: Bill, header: Header, denial: Denial, cost: Cost) -> GatewayError:
        account = bill.account
        assert account is not None
        exchange.rule = bill.plan.rules[denial.index].name
        if bill.period:
            self._thresholds.watch(exchange, bill, denial.standings)
        now = self._wall()
        exchange.lines.append(header.tell(denial.standings, now))
        return refuse(bill, denial, account.spread(cost)[denial.index], now)

"""What one kind of request is charged to: a `Plan` for tier, model and route, a `Bill` for one caller of it."""

from collections.abc import Hashable, Iterable
from typing import Any

from gateway.plugin import Account, Exchange, Model, Quota, Tier, compile_price
from plugins.quota.rule import Rule
from plugins.quota.subject import Reader, find_caller, make_reader, name_subject

_FIXED = ("model", "route")  # the same for all requests of a plan


class Plan:
    """The rules for a tier (None: nobody's), a model and a route."""

    __slots__ = ("_by_caller", "_readers", "bills", "counts_tokens", "max_tokens", "name", "price", "rules", "tier")

    def __init__(self, name: str, tier: Tier | None, model: Model | None, rules: Iterable[Rule]) -> None:
        self.name = name
        self.bills: dict[Hashable, Any] = {}  # by subject: kept by the plugin
        self.tier = tier or Tier()
        self.max_tokens = model.max_tokens if model is not None else None
        self.price = compile_price(model.price) if model is not None and model.price is not None else None
        self.rules = tuple(rules)
        self.counts_tokens = any(rule.unit in ("tokens", "money") for rule in self.rules)
        kinds = dict.fromkeys(kind for rule in self.rules for kind in rule.by)
        self._readers: dict[str, Reader] = {kind: make_reader(kind) for kind in kinds}
        self._by_caller = not self._readers.keys() - {"consumer", *_FIXED}

    def find_subject(self, exchange: Exchange) -> Hashable:
        """Equal for requests that are charged to the same counters."""
        if self._by_caller and exchange.credential is not None:
            return exchange.credential.consumer
        return find_caller(exchange), tuple([read(exchange) for read in self._readers.values()])

    def make_bill(self, exchange: Exchange) -> "Bill":
        """The counters of the caller."""
        return Bill(self, exchange, {kind: read(exchange) for kind, read in self._readers.items()})


class Bill:
    """A plan for one caller. Rule and limit of the account stand at the same place; places are -1 where there is none.

    `is_plain`: every limit counts units, so one figure is the cost.
    """

    __slots__ = (
        "account",
        "is_plain",
        "missing",
        "month_at",
        "months",
        "period",
        "plan",
        "rate_at",
        "rules",
        "tokens_at",
        "watched",
    )

    def __init__(self, plan: Plan, exchange: Exchange, values: dict[str, str | None]) -> None:
        caller = find_caller(exchange)
        self.plan = plan
        self.rules = rules = plan.rules
        limits = tuple([rule.limit(name_subject(rule.by, values, caller), plan.tier) for rule in rules])
        shadow = frozenset(at for at, rule in enumerate(rules) if rule.shadow)
        self.account = Account(limits, shadow, policy=plan.tier.on_ledger_loss) if limits else None
        self.is_plain = all(rule.unit == "units" for rule in rules)
        absent = {kind for kind, value in values.items() if value is None} - {"consumer"}
        self.missing = frozenset(at for at, rule in enumerate(rules) if absent.intersection(rule.by))
        self.rate_at, self.tokens_at, self.month_at = (self._find(kind) for kind in ("rate", "tokens", "monthly"))
        self.period = ""  # the month that was last charged
        self.watched = 0.0  # until when its months need not be looked at (monotonic seconds)
        self.months = tuple([at for at, limit in enumerate(limits) if isinstance(limit, Quota)])

    def _find(self, kind: str) -> int:
        """The place of one of the tier's own limits that may refuse."""
        rules = enumerate(self.rules)
        return next((at for at, rule in rules if rule.is_own and rule.kind == kind and not rule.shadow), -1)

"""What one kind of request is charged to: a `Plan` for tier, model and route, a `Bill` for one caller of it."""

from collections.abc import Hashable, Iterable

from gateway.plugin import Account, Exchange, Model, Tier, compile_price
from plugins.quota.rule import Rule
from plugins.quota.subject import Reader, find_caller, make_reader, name_subject

_FIXED = ("model", "route")  # the same for all requests of a plan


class Plan:
    """The rules for a tier (None: nobody's), a model and a route, and its bills. Places are -1 where there is none.

    `is_plain`: every limit counts units, so one figure is the cost. `months`: the places of months.
    """

    __slots__ = (
        "_by_caller", "_readers", "_shadow", "bills", "counts_tokens", "is_plain", "max_tokens", "month_at", "months",
        "name", "price", "rate_at", "rules", "tier", "tokens_at",
    )  # fmt: skip

    def __init__(self, name: str, tier: Tier | None, model: Model | None, rules: Iterable[Rule]) -> None:
        self.name = name
        self.tier = tier or Tier()
        self.max_tokens = model.max_tokens if model is not None else None
        self.price = compile_price(model.price) if model is not None and model.price is not None else None
        self.rules = tuple(rules)
        self.counts_tokens = any(rule.unit in ("tokens", "money") for rule in self.rules)
        self.is_plain = all(rule.unit == "units" for rule in self.rules)
        self.rate_at, self.tokens_at, self.month_at = (self._find(kind) for kind in ("rate", "tokens", "monthly"))
        self.months = tuple([at for at, rule in enumerate(self.rules) if rule.is_month])
        self._shadow = frozenset(at for at, rule in enumerate(self.rules) if rule.shadow)
        kinds = dict.fromkeys(kind for rule in self.rules for kind in rule.by)
        self._readers: dict[str, Reader] = {kind: make_reader(kind) for kind in kinds}
        self._by_caller = not self._readers.keys() - {"consumer", *_FIXED}
        self.bills: dict[Hashable, Bill] = {}  # by subject

    def find_subject(self, exchange: Exchange) -> Hashable:
        """Equal for requests that are charged to the same counters."""
        if self._by_caller and exchange.credential is not None:
            return exchange.credential.consumer
        return find_caller(exchange), tuple([read(exchange) for read in self._readers.values()])

    def make_bill(self, exchange: Exchange) -> "Bill":
        """The counters of the caller."""
        caller = find_caller(exchange)
        values = {kind: read(exchange) for kind, read in self._readers.items()}
        limits = tuple([rule.limit(name_subject(rule.by, values, caller), self.tier) for rule in self.rules])
        account = Account(limits, self._shadow, policy=self.tier.on_ledger_loss) if limits else None
        absent = {kind for kind, value in values.items() if value is None} - {"consumer"}
        missing = [at for at, rule in enumerate(self.rules) if absent.intersection(rule.by)] if absent else ()
        return Bill(self, account, frozenset(missing))

    def _find(self, kind: str) -> int:
        """The place of one of the tier's own limits that may refuse."""
        rules = enumerate(self.rules)
        return next((at for at, rule in rules if rule.is_own and rule.kind == kind and not rule.shadow), -1)


class Bill:
    """The counters of one caller of a plan; rule and limit of the account stand at the same place.

    `missing`: the places of limits that are by something which the caller has not.
    """

    __slots__ = ("account", "missing", "period", "plan", "watched")

    def __init__(self, plan: Plan, account: Account | None, missing: frozenset[int]) -> None:
        self.plan = plan
        self.account = account
        self.missing = missing
        self.period = ""  # the month that was last charged
        self.watched = 0.0  # until when its months need not be looked at (monotonic seconds)

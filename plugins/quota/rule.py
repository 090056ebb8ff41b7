"""Limits of the configuration, compiled: what each counts, how much of it, by whom, and what it is called."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.plugin import Cap, Limit, Model, Quota, Rate, Route, Slots, Tier

PERIODS = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}
_SLOT_US = 60_000_000  # after which slots of a dead worker come back; the wallet renews those in use

# what a limit is called in the config: what it counts, its word in keys, its word in the names of rules
_KINDS = {
    "rate": ("units", "rate", "rate"),
    "tokens": ("tokens", "tokens", "tokens"),
    "monthly": ("units", "month", "month"),
    "monthly_tokens": ("tokens", "tokens-month", "monthly_tokens"),
    "concurrency": ("slots", "slots", "concurrency"),
    "budget": ("money", "money", "budget"),
}


class Rule(msgspec.Struct, frozen=True):
    """One limit. `unit`: units, tokens, money (whole ones are micro-USD) or slots. `period`: seconds, 0 for none."""

    kind: str
    unit: str
    name: str  # in refusals and metrics
    what: str  # in keys, after whose it is
    by: tuple[str, ...]
    count: int
    period: int
    burst: int
    shadow: bool
    is_own: bool  # one of a tier's own fields, not of a list

    @property
    def is_month(self) -> bool:
        return self.kind in ("monthly", "monthly_tokens", "budget")

    def limit(self, whose: str, tier: Tier) -> Limit:
        """The ledger's limit for one caller. All months of a request are those of its `tier`."""
        key = f"{whose}:{self.what}"
        if self.period:
            return Rate(key, self.count, self.period * 1_000_000, self.burst)
        return (
            Slots(key, self.count, _SLOT_US) if self.unit == "slots" else Quota(key, self.count, tier.zone, tier.anchor)
        )


def rules_of_tier(name: str, tier: Tier) -> Iterator[Rule]:
    """A tier's own limits, then those of its list."""
    by = tuple(tier.by.split("+"))
    for kind in _KINDS:
        amount = getattr(tier, kind)
        if amount is not None and not (kind == "rate" and tier.rate.unlimited):
            burst = tier.burst if kind == "rate" else None
            what = _KINDS[kind][1] if kind in ("monthly", "monthly_tokens", "budget") else f"{_KINDS[kind][1]}:{name}"
            yield _make(kind, amount, burst, f"tier:{name}:{_KINDS[kind][2]}", what, by, tier.shadow, True)
    yield from _listed(tier.limits, f"tier:{name}", name, "consumer")


def rules_of_model(label: str, model: Model) -> Iterator[Rule]:
    return _listed(model.limits, f"model:{label}", f"model={label}", "model")


def rules_of_route(path: str, route: Route) -> Iterator[Rule]:
    return _listed(route.limits, f"route:{path}", f"route={path}", "route")


def _listed(caps: tuple[Cap, ...], rule: str, owner: str, default: str) -> Iterator[Rule]:
    for cap in caps:
        kind, amount = next((kind, amount) for kind in _KINDS if (amount := getattr(cap, kind)) is not None)
        by = cap.by or default
        mark = escape(by) + (f":{amount.period}" if kind in ("rate", "tokens") else "")
        mark = f"={escape(cap.name)}" if cap.name else mark
        name = cap.name or f"{rule}:{_KINDS[kind][2]}" + (f":{by}" if by != default else "")
        what = f"{_KINDS[kind][1]}:{escape(owner)}:{mark}"
        yield _make(kind, amount, cap.burst, name, what, tuple(by.split("+")), cap.shadow, False)


def _make(
    kind: str, amount: Any, burst: int | None, name: str, what: str, by: tuple[str, ...], shadow: bool, is_own: bool
) -> Rule:  # fmt: skip
    count, period = (amount.count, amount.period) if kind in ("rate", "tokens") else (int(amount), 0)
    size = burst if burst is not None else max(1, count * 3 // 2)
    return Rule(kind, _KINDS[kind][0], name, what, by, count, period, size, shadow, is_own)


def escape(text: str) -> str:
    """For keys: no braces, which mark what is kept together, no colons, which part them, no control characters."""
    return "".join(c if c not in "{}:%" and c.isprintable() else f"%{ord(c):02X}" for c in text)

"""How a refusal is told: the rule, what it allows, what was used, when it resets, and what would help."""

import math
from typing import Any

from gateway.errors import GatewayError
from gateway.plugin import Denial, Standing
from plugins.quota.bill import Bill
from plugins.quota.rule import PERIODS, Rule

_NUMBERS = {"rate": 1501, "monthly": 1502, "concurrency": 1504, "tokens": 1505, "monthly_tokens": 1506, "budget": 1507}
_NAMES = {"units": "requests", "tokens": "tokens", "slots": "requests at once", "money": "USD"}
_HELP = {
    "rate": "",
    "tokens": " A shorter prompt or a smaller max_tokens fits sooner.",
    "concurrency": " Wait for one of them to end.",
    "monthly": " Wait for the next month, or ask for a larger tier.",
    "monthly_tokens": " A smaller max_tokens may still fit; or ask for a larger tier.",
    "budget": " A smaller max_tokens or a cheaper model may still fit; or ask for a larger budget.",
}


def figures(rule: Rule, standing: Standing, wall: float) -> dict[str, Any]:
    """A limit as it stands at `wall` (unix seconds), in the unit that people use. Used is rounded up."""
    limit, used, left = float(rule.count), standing.used / 1000, standing.remaining / 1000
    if rule.period:
        limit = float(rule.burst)
    if rule.unit == "money":
        limit, used, left = limit / 1e6, round(used / 1e6, 6), round(left / 1e6, 6)
    else:
        limit, used, left = int(limit), math.ceil(used), math.floor(left)
    reset = round(wall + standing.reset_us / 1e6) if rule.unit != "slots" else None
    return {
        "rule": rule.name,
        "unit": _NAMES[rule.unit],
        "limit": limit,
        "used": used,
        "remaining": left,
        "reset": reset,
    }


def refuse(bill: Bill, denial: Denial, cost: int, wall: float) -> GatewayError:
    """The error for a denial; `cost` is the milli-units that the limit was asked for."""
    rule, standing = bill.plan.rules[denial.index], denial.standings[denial.index]
    known = figures(rule, standing, wall)
    details = {key: value for key, value in known.items() if key != "remaining"} | {"by": "+".join(rule.by)}
    whose = f"Tier {bill.plan.name}" if rule.is_own else f"The limit {rule.name}"
    if denial.unsatisfiable:
        return _refuse_for_ever(rule, whose, cost, details)
    wait = max(1, math.ceil(denial.wait_us / 1e6))
    help_ = _HELP[rule.kind] or f" Try again in {wait} s."
    text = f"{whose} allows {_allowance(rule, known['limit'])}; {_amount(rule, known['used'])} used.{help_}"
    headers = {"Retry-After": str(wait), "x-should-retry": "false" if rule.is_month else "true"}
    return GatewayError(_NUMBERS[rule.kind], text, details=details, headers=headers)


def _refuse_for_ever(rule: Rule, whose: str, cost: int, details: dict[str, Any]) -> GatewayError:
    asked = f"{cost / 1e9:g} USD" if rule.unit == "money" else f"{cost / 1000:g} {_unit(rule)}"
    limit = f"{details['limit']:g} USD" if rule.unit == "money" else str(details["limit"])
    span = "a month" if rule.is_month else "at once"
    text = f"The request costs {asked}; {whose[0].lower()}{whose[1:]} allows {limit} {span}."
    if rule.unit in ("tokens", "money"):
        text += " Send a shorter prompt, or a smaller max_tokens."
    return GatewayError(1503, text, details=details, headers={"x-should-retry": "false"})


def _allowance(rule: Rule, limit: float) -> str:
    if rule.period:
        return f"{rule.count} {_NAMES[rule.unit]} per {PERIODS[rule.period]}"
    if rule.unit == "money":
        return f"{limit:g} USD a month"
    return f"{limit} requests at once" if rule.unit == "slots" else f"{limit} {_unit(rule)} a month"


def _amount(rule: Rule, used: float) -> str:
    if rule.unit == "money":
        return f"{used:g} USD were"
    return f"{used} are" if rule.unit == "slots" else f"{used} were"


def _unit(rule: Rule) -> str:
    return "units" if rule.unit == "units" else _NAMES[rule.unit]

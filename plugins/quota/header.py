"""What answers tell of the limits: the tier's own rate, tokens and month; the IETF family every rate."""

import math
from collections.abc import Sequence
from typing import Literal

from gateway.plugin import Standing
from plugins.quota.bill import Bill
from plugins.quota.rule import Rule

Family = Literal["classic", "openai", "ietf"]


class Header:
    """The lines for one bill. `fixed` are those that are always the same; figures are rounded down, times up."""

    __slots__ = ("_bill", "_classic", "_openai", "_policies", "fixed")

    def __init__(self, bill: Bill, families: tuple[Family, ...]) -> None:
        self._bill = bill
        self._classic, self._openai = "classic" in families, "openai" in families
        rules = [(at, rule) for at, rule in enumerate(bill.rules) if rule.period and not rule.shadow]
        self._policies = [(at, _policy(bill.plan.name, rule)) for at, rule in rules] if "ietf" in families else []
        self.fixed = f"X-Quota-Tier: {bill.plan.name}\r\n" if bill.plan.name else ""
        if bill.rate_at >= 0:
            burst = bill.rules[bill.rate_at].burst
            self.fixed += f"X-RateLimit-Limit: {burst}\r\n" if "classic" in families else ""
            self.fixed += f"x-ratelimit-limit-requests: {burst}\r\n" if "openai" in families else ""
        if bill.tokens_at >= 0 and "openai" in families:
            self.fixed += f"x-ratelimit-limit-tokens: {bill.rules[bill.tokens_at].burst}\r\n"
        if self._policies:
            told = [f'"{name}";q={bill.rules[at].count};w={bill.rules[at].period}' for at, name in self._policies]
            self.fixed += f"RateLimit-Policy: {', '.join(told)}\r\n"

    def tell(self, standings: Sequence[Standing], now: float) -> str:
        """All lines, where the limits stand so at `now` (unix seconds)."""
        bill, text = self._bill, self.fixed
        if bill.month_at >= 0:
            text += f"X-Quota-Monthly-Remaining: {standings[bill.month_at].remaining // 1000}\r\n"
        if bill.rate_at >= 0:
            standing = standings[bill.rate_at]
            left, seconds = standing.remaining // 1000, standing.reset_us / 1e6
            if self._classic:
                text += f"X-RateLimit-Remaining: {left}\r\nX-RateLimit-Reset: {math.ceil(now + seconds)}\r\n"
            if self._openai:
                reset = go_duration(seconds)
                text += f"x-ratelimit-remaining-requests: {left}\r\nx-ratelimit-reset-requests: {reset}\r\n"
        if bill.tokens_at >= 0 and self._openai:
            standing = standings[bill.tokens_at]
            left, reset = standing.remaining // 1000, go_duration(standing.reset_us / 1e6)
            text += f"x-ratelimit-remaining-tokens: {left}\r\nx-ratelimit-reset-tokens: {reset}\r\n"
        mark = "RateLimit: "
        for at, name in self._policies:
            standing = standings[at]
            text += f'{mark}"{name}";r={standing.remaining // 1000};t={math.ceil(standing.reset_us / 1e6)}'
            mark = ", "
        return text + "\r\n" if self._policies else text


def _policy(tier: str, rule: Rule) -> str:
    """The tier's name for its own rate; for the others that of the rule."""
    if rule.is_own:
        return tier if rule.kind == "rate" else f"{tier}-{rule.kind}"
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in rule.name)


def go_duration(seconds: float) -> str:
    """As OpenAI writes it: 6m0s, 1s, 12ms."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

"""What answers tell of the limits: the tier's own rate, tokens and month; the IETF family every rate."""

import math
from collections.abc import Sequence
from typing import Literal

from gateway.plugin import Standing
from plugins.quota.bill import Plan
from plugins.quota.rule import Rule

Family = Literal["classic", "openai", "ietf"]


class Header:
    """The lines for one plan. `fixed` are those that are always the same; figures are rounded down, times up."""

    __slots__ = ("_classic", "_openai", "_plan", "_policies", "fixed")

    def __init__(self, plan: Plan, families: tuple[Family, ...]) -> None:
        self._plan = plan
        self._classic, self._openai = "classic" in families, "openai" in families
        rules = [(at, rule) for at, rule in enumerate(plan.rules) if rule.period and not rule.shadow]
        self._policies = [(at, _policy(plan.name, rule)) for at, rule in rules] if "ietf" in families else []
        self.fixed = f"X-Quota-Tier: {plan.name}\r\n" if plan.name else ""
        if plan.rate_at >= 0:
            burst = plan.rules[plan.rate_at].burst
            self.fixed += f"X-RateLimit-Limit: {burst}\r\n" if "classic" in families else ""
            self.fixed += f"x-ratelimit-limit-requests: {burst}\r\n" if "openai" in families else ""
        if plan.tokens_at >= 0 and "openai" in families:
            self.fixed += f"x-ratelimit-limit-tokens: {plan.rules[plan.tokens_at].burst}\r\n"
        if self._policies:
            told = [f'"{name}";q={plan.rules[at].count};w={plan.rules[at].period}' for at, name in self._policies]
            self.fixed += f"RateLimit-Policy: {', '.join(told)}\r\n"

    def tell(self, standings: Sequence[Standing], now: float) -> str:
        """All lines, where the limits stand so at `now` (unix seconds)."""
        plan, text = self._plan, self.fixed
        if plan.month_at >= 0:
            text += f"X-Quota-Monthly-Remaining: {standings[plan.month_at].remaining // 1000}\r\n"
        if plan.rate_at >= 0:
            standing = standings[plan.rate_at]
            left, seconds = standing.remaining // 1000, standing.reset_us / 1e6
            if self._classic:
                text += f"X-RateLimit-Remaining: {left}\r\nX-RateLimit-Reset: {math.ceil(now + seconds)}\r\n"
            if self._openai:
                reset = go_duration(seconds)
                text += f"x-ratelimit-remaining-requests: {left}\r\nx-ratelimit-reset-requests: {reset}\r\n"
        if plan.tokens_at >= 0 and self._openai:
            standing = standings[plan.tokens_at]
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

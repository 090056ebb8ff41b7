"""What a caller may spend: the rate, the burst and the month of its tier.

    tiers:
      free:      {rate: 100/min, monthly: 50_000}
      anonymous: {rate: 30/min, by: ip}
    plugins:
      - quota: {}

A request costs route cost x model cost; 0 is exempt and neither counted nor told about. A caller without a key has the
tier `anonymous`, if there is one. `by` says whose bucket it is: the consumer's, the address's (IPv6 by /64), or that of
a header (`header:x-client-id`). Refusals are 1501 (rate; try again), 1502 (month; not in minutes) and 1503 (can never
be). `exchange.month` and `exchange.units` tell the journal what was charged; what an unserved request reserved goes
back in `log`. `headers` names the families that answers carry; the limit they tell is the burst, of which `remaining`
is what is left.
"""

import ipaddress
import math
from collections import OrderedDict
from typing import Literal

from gateway.errors import GatewayError
from gateway.plugin import (
    Account,
    BasePlugin,
    BaseSettings,
    Charge,
    Denial,
    Exchange,
    LedgerDown,
    Quota,
    Rate,
    Services,
    Standing,
    Tier,
)

ANONYMOUS = "anonymous"
_ACCOUNTS = 20_000  # compiled accounts that are kept
_MAX_HEADER = 128
_PERIODS = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}

Family = Literal["classic", "openai", "ietf"]


class Settings(BaseSettings, frozen=True):
    headers: tuple[Family, ...] = ("classic", "openai", "ietf")


class Bill:
    """A tier applied to one caller: its limits as an account, and what the headers need of it."""

    __slots__ = ("account", "burst", "fixed", "month_at", "pace", "rate_at", "tier")

    def __init__(self, name: str, tier: Tier, subject: str, families: tuple[Family, ...]) -> None:
        limits: list[Rate | Quota] = []
        self.tier = name
        self.rate_at = self.month_at = -1  # places among the limits
        rate, period = tier.rate.count, tier.rate.period
        self.burst = tier.burst if tier.burst is not None else max(1, rate * 3 // 2)
        self.pace = f"{rate} requests per {_PERIODS.get(period, f'{period} s')}"
        self.fixed = f"X-Quota-Tier: {name}\r\n"  # header lines that are always the same
        if not tier.rate.unlimited:
            self.rate_at = len(limits)
            limits.append(Rate(f"rate:{name}:{subject}", rate, period * 1_000_000, self.burst))
            self.fixed += "".join(
                line
                for family, line in (
                    ("classic", f"X-RateLimit-Limit: {self.burst}\r\n"),
                    ("openai", f"x-ratelimit-limit-requests: {self.burst}\r\n"),
                    ("ietf", f'RateLimit-Policy: "{name}";q={rate};w={period}\r\n'),
                )
                if family in families
            )
        if tier.monthly is not None:
            self.month_at = len(limits)
            limits.append(Quota(f"month:{subject}", tier.monthly))
        self.account = Account(tuple(limits)) if limits else None


class Plugin(BasePlugin[Settings]):
    needs = "model"

    async def start(self, services: Services) -> None:
        self._ledger = services.ledger
        self._tiers = services.tiers
        self._clock = services.clock
        self._bills: OrderedDict[tuple[str, str], Bill] = OrderedDict()

    async def access(self, exchange: Exchange) -> None:
        bill = self._find_bill(exchange)
        if bill is None or exchange.cost == 0:
            return
        account = bill.account
        if account is None:
            exchange.set_header("X-Quota-Tier", bill.tier)
            return
        try:
            taken = self._ledger.take(account, exchange.id, exchange.cost)
            answer = taken if isinstance(taken, Charge | Denial) else await taken
        except LedgerDown:
            raise GatewayError(1601, headers={"Retry-After": "1"}) from None
        if isinstance(answer, Denial):
            raise self._refuse(exchange, bill, answer)
        exchange.notes[self] = answer
        exchange.units = exchange.cost
        if bill.month_at >= 0:
            exchange.month = (account.limits[bill.month_at].key, answer.period)
        exchange.lines.append(self._describe(bill, answer.standings))

    def log(self, exchange: Exchange) -> None:
        charge: Charge | None = exchange.notes.get(self)
        if charge is not None and exchange.outcome is not None and not exchange.outcome.keeps_units:
            self._ledger.refund(charge)

    def _find_bill(self, exchange: Exchange) -> Bill | None:
        credential = exchange.credential
        name = credential.tier if credential is not None else ANONYMOUS
        tier = self._tiers.get(name)
        if tier is None:
            return None
        exchange.tier = name
        subject = _subject(exchange, tier.by)
        bill = self._bills.get((name, subject))
        if bill is None:
            bill = self._bills[name, subject] = Bill(name, tier, subject, self.settings.headers)
            if len(self._bills) > _ACCOUNTS:
                self._bills.popitem(last=False)
        return bill

    def _refuse(self, exchange: Exchange, bill: Bill, denial: Denial) -> GatewayError:
        """The truth about a refusal: the rule, what was used, when it resets, and whether waiting helps."""
        standing = denial.standings[denial.index]
        wait = math.ceil(denial.wait_us / 1e6)
        reset = round(self._clock.wall() + standing.reset_us / 1e6)
        is_month = denial.index == bill.month_at
        exchange.rule = f"tier:{bill.tier}:{'month' if is_month else 'rate'}"
        exchange.lines.append(self._describe(bill, denial.standings))
        limit = bill.burst if not is_month else _whole_limit(bill)
        used = -(-standing.used // 1000)
        details = {"rule": exchange.rule, "limit": limit, "used": used, "reset": reset}
        if denial.unsatisfiable:
            text = f"The request costs {exchange.cost / 1000:g} units; tier {bill.tier} allows {limit} at once."
            return GatewayError(1503, text, details=details, headers={"x-should-retry": "false"})
        headers = {"Retry-After": str(max(1, wait)), "x-should-retry": "false" if is_month else "true"}
        if is_month:
            text = f"Tier {bill.tier} allows {limit} units a month; {used} were used."
            return GatewayError(1502, text, details=details, headers=headers)
        text = f"Tier {bill.tier} allows {bill.pace}; {used} were used. Try again in {max(1, wait)} s."
        return GatewayError(1501, text, details=details, headers=headers)

    def _describe(self, bill: Bill, standings: tuple[Standing, ...]) -> str:
        """The header families, in one piece. Remaining units are rounded down, times up."""
        text = bill.fixed
        if bill.month_at >= 0:
            text += f"X-Quota-Monthly-Remaining: {standings[bill.month_at].remaining // 1000}\r\n"
        if bill.rate_at < 0:
            return text
        standing, families = standings[bill.rate_at], self.settings.headers
        left, seconds = standing.remaining // 1000, standing.reset_us / 1e6
        if "classic" in families:
            reset = math.ceil(self._clock.wall() + seconds)
            text += f"X-RateLimit-Remaining: {left}\r\nX-RateLimit-Reset: {reset}\r\n"
        if "openai" in families:
            reset_in = _go_duration(seconds)
            text += f"x-ratelimit-remaining-requests: {left}\r\nx-ratelimit-reset-requests: {reset_in}\r\n"
        if "ietf" in families:
            text += f'RateLimit: "{bill.tier}";r={left};t={math.ceil(seconds)}\r\n'
        return text


def _whole_limit(bill: Bill) -> int:
    assert bill.account is not None
    limit = bill.account.limits[bill.month_at]
    assert isinstance(limit, Quota)
    return limit.limit


def _subject(exchange: Exchange, by: str) -> str:
    """Whose bucket: a consumer's name, an address (a /64 for IPv6: one customer holds at least that), a header."""
    if by == "consumer" and exchange.credential is not None:
        return exchange.credential.consumer
    if by.startswith("header:") and (value := exchange.header(by[7:].lower())):
        return f"{by[7:]}={value[:_MAX_HEADER]}"
    address = exchange.peer
    if ":" in address:
        address = str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    return f"ip:{address}"


def _go_duration(seconds: float) -> str:
    """As OpenAI writes it: 6m0s, 1s, 12ms."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

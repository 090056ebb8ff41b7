"""What is said to Redis: the arguments of the scripts, and the meaning of their answers. Pure.

A rate's times travel as (microseconds, ticks), so that Lua, whose numbers are exact below 2^53, only adds and compares.
That holds for counts up to 10^12, for months up to 9 * 10^15 milli-units, and for clocks until the year 2255.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from gateway.ledger import gcra
from gateway.ledger.bucket import LEASE_US
from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Quota, Rate, Slots, Standing
from gateway.ledger.period import Month

Arguments = tuple[str | int, ...]

GRANTED, DENIED, NEVER, OTHER_MONTH = 1, 0, -1, -2
KEPT_MS = 67 * 86_400_000  # how long a counter is kept whose month's end is not known: a month and 35 days
_HEAD, _WIDTH = 5, 3  # fields of an answer before the limits', and of each limit
_NO_MONTH = Month("", 0, 0)


class Script:
    """One script: its text, and the name by which Redis knows it once it has run."""

    def __init__(self, file: str) -> None:
        self.text = Path(__file__).with_name(file).read_text("utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


LEDGER = Script("redis.lua")
MONTH = Script("month.lua")
FLEET = Script("fleet.lua")


def limit_key(limit: Limit, period: str) -> str:
    """Where a limit is kept. What stands in braces, or else the whole key, decides the node of a cluster."""
    return month_key(limit.key, period) if isinstance(limit, Quota) else f"tk:{_tagged(limit.key)}"


def month_key(quota_key: str, period: str) -> str:
    """Where the counter of a quota's month is kept."""
    return f"tk:{_tagged(quota_key)}:{period}"


def index_key(writer: str) -> str:
    """Where it is noted which months a writer was charged."""
    return f"tk:{{writer:{writer}}}:months"


def _tagged(key: str) -> str:
    start = key.find("{")
    return key if start >= 0 and key.find("}", start + 2) > 0 else f"{{{key}}}"


def take(mode: str, writer: str, ask: Ask, month: Month | None, clock: str = "") -> tuple[list[str], list[str | int]]:
    """Keys and arguments of an ask (`mode` take) or of a look at it (peek); `month` is the one charged, if any."""
    largest = max([need.cost for need in ask.needs]) if ask.lease else 0
    keys: list[str] = []
    arguments: list[str | int] = [mode, writer, ask.charge, ask.lease, largest, clock]
    for need in ask.needs:
        keys.append(limit_key(need.limit, month.name if month is not None else ""))
        arguments += _figures(need, need.shadow, month)
    return keys, arguments


def correct(
    mode: str, writer: str, charge: str, needs: tuple[Need, ...], period: str, clock: str = ""
) -> tuple[list[str], list[str | int]]:
    """Keys and arguments of a refund, return or renewal of `charge`."""
    keys: list[str] = []
    arguments: list[str | int] = [mode, writer, charge, 0, 0, clock]
    for need in needs:
        keys.append(limit_key(need.limit, period))
        arguments += _figures(need, need.cost < 0, _NO_MONTH)
    return keys, arguments


def read(ask: Ask, month: Month | None, reply: list[int]) -> Grant | Denial:
    """The answer to `ask`, told by a script that did not find another month."""
    status, place, wait_us, lease, now_us = reply[:_HEAD]
    standings = []
    shadowed: tuple[int, ...] = ()
    for at, need in enumerate(ask.needs):
        first, second, is_shadowed = reply[_HEAD + _WIDTH * at : _HEAD + _WIDTH * (at + 1)]
        standings.append(_stand(need.limit, first, second, now_us, month))
        if is_shadowed:
            shadowed += (at,)
    if status != GRANTED:
        return Denial(ask.charge, place, wait_us, tuple(standings), status == NEVER)
    lease_us = 0
    if lease:
        lease_us = LEASE_US if month is None else min(LEASE_US, month.end_us - now_us)
    return Grant(ask.charge, lease, lease_us, month.name if month is not None else "", tuple(standings), shadowed)


def _stand(limit: Limit, first: int, second: int, now_us: int, month: Month | None) -> Standing:
    if isinstance(limit, Rate):
        pace = gcra.pace(limit.count, limit.period_us, limit.burst)
        backlog = first * pace.scale + second
        return Standing(gcra.free(pace, backlog), gcra.reset_us(pace, backlog), gcra.used(pace, backlog))
    left_us = month.end_us - now_us if isinstance(limit, Quota) and month is not None else 0
    return Standing(max(1000 * limit.limit - first, 0), left_us, first)


def _figures(need: Need, flag: bool, month: Month | None) -> tuple[Any, ...]:
    limit = need.limit
    if isinstance(limit, Rate):
        return _rate_figures(limit, need.cost, flag)
    if isinstance(limit, Slots):
        return "s", int(flag), need.cost, 1000 * limit.limit, limit.ttl_us
    start_us, end_us = (month.start_us, month.end_us) if month is not None else (0, 0)
    return "q", int(flag), need.cost, 1000 * limit.limit, start_us, end_us, 1000 * (limit.limit // 100)


@lru_cache(maxsize=16_384)
def _rate_figures(rate: Rate, cost: int, flag: bool) -> tuple[Any, ...]:
    pace = gcra.pace(rate.count, rate.period_us, rate.burst)
    share = rate.burst // 100  # whole units that may be out on lease, as RateView has it
    return (
        "r", int(flag), *divmod(abs(cost) * pace.step, pace.scale), *divmod(pace.burst, pace.scale),
        *divmod(gcra.furthest(pace), pace.scale), pace.scale, *divmod(pace.step, pace.scale),
        1000 * share if share > 1 else 0,
    )  # fmt: skip

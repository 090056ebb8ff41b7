"""The generic cell rate algorithm on exact integers: a whole bucket is one moment, its theoretical arrival time (TAT).

A bucket is full when its TAT is past; each unit charged moves the TAT ahead by the time one unit takes to flow back.
How far the TAT lies ahead of now is the bucket's *backlog*. A cost fits when backlog + cost is at most the burst.
That time is rarely a whole number of microseconds, so each rate counts in its own *ticks* of 1/scale microsecond, in
which every charge, refund and burst is a whole number: nothing is ever rounded but what is shown to people, and that
rounds up for waits and down for what remains.
"""

from functools import lru_cache
from math import gcd
from typing import NamedTuple

DEBT = 4  # bursts that overruns may owe; what exceeds it is forgiven, so no mistake locks a client out for long


class Pace(NamedTuple):
    """A rate in ticks: `scale` ticks make a microsecond, a milli-unit lasts `step` ticks, a full burst `burst`."""

    step: int
    scale: int
    burst: int


@lru_cache(maxsize=4096)
def pace(count: int, period_us: int, burst: int) -> Pace:
    """The pace of `count` units per `period_us` with `burst` units at once; all at least 1."""
    shared = gcd(period_us, 1000 * count)
    step = period_us // shared
    return Pace(step, 1000 * count // shared, 1000 * burst * step)


def measure_backlog(pace: Pace, tat: int, now_us: int) -> int:
    """Ticks until the bucket is full."""
    return max(tat - now_us * pace.scale, 0)


def wait_us(pace: Pace, backlog: int, cost: int) -> int:
    """Microseconds until `cost` milli-units fit, rounded up; 0: now. Meaningless for a cost above the burst."""
    return max(-((pace.burst - backlog - cost * pace.step) // pace.scale), 0)


def free(pace: Pace, backlog: int) -> int:
    """Milli-units that could be charged now, rounded down; 0 in debt."""
    return max((pace.burst - backlog) // pace.step, 0)


def used(pace: Pace, backlog: int) -> int:
    """Milli-units that have not flowed back yet, rounded up; more than the burst in debt."""
    return -(-backlog // pace.step)


def reset_us(pace: Pace, backlog: int) -> int:
    """Microseconds until the bucket is full, rounded up."""
    return -(-backlog // pace.scale)


def move(pace: Pace, tat: int, now_us: int, units: int) -> int:
    """The TAT after charging `units` milli-units; negative is a refund. A TAT that is past is full, not fuller."""
    backlog = measure_backlog(pace, tat, now_us) + units * pace.step
    return now_us * pace.scale + min(backlog, furthest(pace))


def furthest(pace: Pace) -> int:
    """The largest backlog there can be: a burst and the debt beyond it."""
    return (1 + DEBT) * pace.burst


def rescale(tat: int, old: Pace, new: Pace) -> int:
    """The same moment in the ticks of another pace, rounded up."""
    return tat if old.scale == new.scale else -(-tat * new.scale // old.scale)

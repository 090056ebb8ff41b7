"""Figures of many shots, and the lines of the report."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from gateway.cli.loadtest.caller import Shot

Result = Literal["ok", "FAILED", "skipped", ""]


class Row(msgspec.Struct, frozen=True):
    """One line of the report; a `result` of "" is a figure that nobody judges."""

    check: str
    what: str
    result: Result
    detail: str


class Check(Protocol):
    """One part of the test. `rows` may be asked for at any time, also when `run` was broken off."""

    name: str

    async def run(self) -> None: ...
    def rows(self) -> Iterable[Row]: ...


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def describe_times(seconds: Sequence[float], *shares: int) -> str:
    """`p50 1.2 ms, p99 3.4 ms`; a dash for no values."""
    if not seconds:
        return "-"
    return ", ".join(f"p{share} {percentile(seconds, share / 100) * 1000:.1f} ms" for share in shares)


def count_ends(shots: Iterable[Shot]) -> str:
    """How many ended in which way: `200: 95, 429 (1501): 5`."""
    ends = Counter(
        shot.fault or (f"{shot.status} ({shot.number})" if shot.number else str(shot.status)) for shot in shots
    )
    return ", ".join(f"{end}: {count}" for end, count in ends.most_common()) or "nothing was sent"


def find_bad(shots: Iterable[Shot]) -> list[Shot]:
    """Those that were neither served nor refused in order."""
    return [shot for shot in shots if not (shot.is_served or shot.is_refused)]

"""Durations in logarithmic steps, two steps to a column: rows are merged by SQL's own sum(), both counts at once.

A step is a fourth of a doubling, from 1 ms to 12 minutes; within a step a percentile is interpolated, so that it is
off by 19 % at worst and by a few per cent as a rule. A sum may hold 2**31 requests.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from math import ceil

STEPS = 80
WIDTH = STEPS // 2  # columns of one histogram

_HALF = 32  # bits of a count
_MASK = (1 << _HALF) - 1
_BOUNDS = [1000 * 2 ** (step / 4) for step in range(STEPS - 1)]  # microseconds, where the next step begins
_WHOLE = [ceil(bound) for bound in _BOUNDS]  # the same steps, as durations are whole, and quicker compared

PLACES = [(step // 2, 1 << _HALF * (step % 2)) for step in range(STEPS)]
"""Of each step its column, and what one request adds to it."""


find_step: Callable[[int], int] = partial(bisect_right, _WHOLE)
"""Of microseconds: 0 is for less than a millisecond, the last step for everything that is longer."""


def unpack(columns: Iterable[int]) -> list[int]:
    """The count of each step."""
    return [count for column in columns for count in (int(column) & _MASK, int(column) >> _HALF)]


def find_percentile(counts: Sequence[int], percent: float) -> float | None:
    """Microseconds that `percent` of the requests did not exceed, None where there are none."""
    total = sum(counts)
    if not total:
        return None
    wanted = total * percent / 100
    reached = list(accumulate(counts))
    step = next(step for step, count in enumerate(counts) if count and reached[step] >= wanted)
    share = max(0.0, 1 - (reached[step] - wanted) / counts[step])
    if step == 0:
        return share * _BOUNDS[0]
    if step == STEPS - 1:
        return _BOUNDS[-1]
    return float(_BOUNDS[step - 1] * (_BOUNDS[step] / _BOUNDS[step - 1]) ** share)

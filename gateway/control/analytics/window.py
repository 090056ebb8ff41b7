"""Which time is asked about, and of which roll-ups it is made. Pure; moments are unix microseconds.

Roll-ups know whole hours, and of long ago whole days: a window is widened to them and says what it became.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from gateway.control.analytics.measures import DAY, HOUR

Bucket = Literal["hour", "day", "week", "month"]

HOURS_KEPT = 15 * DAY  # for so long a week can be compared with the one before by the hour
_LONGEST = 800 * DAY


class Span(msgspec.Struct, frozen=True):
    """Some roll-ups of one grain: begin <= start < end."""

    grain: str
    begin: int
    end: int


class Window(msgspec.Struct, frozen=True):
    """From `begin` to `end`, told by `spans`, which do not overlap. `seconds` of it are over."""

    begin: int
    end: int
    spans: tuple[Span, ...]
    seconds: float


def plan_window(begin: int, end: int, bucket: Bucket | None, now: int) -> Window:
    """Raises ValueError with a sentence for the caller."""
    if end <= begin:
        raise ValueError("the time ends before it begins")
    if end - begin > _LONGEST:
        raise ValueError(f"at most {_LONGEST // DAY} days can be asked about at once")
    oldest = _floor(now - HOURS_KEPT, HOUR)
    if bucket == "hour" and begin < oldest:
        raise ValueError(f"hours are known for {HOURS_KEPT // DAY} days, days for longer")
    is_exact = bucket in (None, "hour")
    begin = _floor(begin, HOUR if is_exact and begin >= oldest else DAY)
    end = _ceil(end, HOUR if is_exact and end >= oldest else DAY)
    first, last = _ceil(begin, DAY), _floor(end, DAY)
    if bucket == "hour" or first > last:
        first = last = end
    parts = (Span("hour", begin, first), Span("day", first, last), Span("hour", last, end))
    seconds = max(1.0, (min(end, now) - begin) / 1e6)
    return Window(begin, end, tuple(part for part in parts if part.begin < part.end), seconds)


def find_previous(window: Window, bucket: Bucket | None, now: int) -> Window:
    """As long a time, just before. Raises ValueError."""
    if bucket in ("week", "month"):
        raise ValueError(f"what is told by the {bucket} cannot be compared with the time before")
    return plan_window(2 * window.begin - window.end, window.begin, bucket, now)


def find_bucket(start: int, bucket: Bucket) -> int:
    """When the hour, day, week (from Monday) or month (of UTC) began that `start` is in."""
    if bucket in ("hour", "day"):
        return _floor(start, HOUR if bucket == "hour" else DAY)
    day = datetime.fromtimestamp(start // 1_000_000, UTC).replace(hour=0, minute=0, second=0)
    first = day - timedelta(days=day.weekday()) if bucket == "week" else day.replace(day=1)
    return int(first.timestamp()) * 1_000_000


def _floor(moment: int, grain: int) -> int:
    return moment - moment % grain


def _ceil(moment: int, grain: int) -> int:
    return -(-moment // grain) * grain

"""Months in a time zone, from any day. A counter starts afresh because the month's name changes, never by a timer."""

from calendar import monthrange
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Month(NamedTuple):
    """A month and the wall time it spans, in microseconds since 1970: start <= time < end.

    `name` is "2026-11" for a calendar month, else its first day ("2026-11-15").
    """

    name: str
    start_us: int
    end_us: int


def month_at(wall_us: int, zone: str, anchor: int = 1) -> Month:
    """The month of `zone`, from day `anchor` (1 to 31), at a wall time.

    A calendar month without that day begins a month with its last one. A month begins when the first midnight of
    its first day comes: where clocks go back over that midnight (St John's, 2009-11-01) the month that has begun goes
    on, so that it begins only once. Raises zoneinfo.ZoneInfoNotFoundError for an unknown zone.
    """
    place = ZoneInfo(zone)
    local = datetime.fromtimestamp(wall_us // 1_000_000, place)
    index = local.year * 12 + local.month - 1
    if wall_us < _begin_us(_first_day(index, anchor), place):
        index -= 1
    elif wall_us >= _begin_us(_first_day(index + 1, anchor), place):
        index += 1
    first, following = _first_day(index, anchor), _first_day(index + 1, anchor)
    name = f"{first:%Y-%m}" if anchor == 1 else f"{first:%Y-%m-%d}"
    return Month(name, _begin_us(first, place), _begin_us(following, place))


def _first_day(index: int, anchor: int) -> date:
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(anchor, monthrange(year, month)[1]))


def _begin_us(day: date, place: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=place).timestamp()) * 1_000_000

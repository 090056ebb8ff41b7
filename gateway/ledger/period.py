"""Calendar months in a time zone. A counter starts afresh because the month's name changes, never by a timer."""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Month(NamedTuple):
    """A month such as "2026-11" and the wall time it spans, in microseconds since 1970: start <= time < end."""

    name: str
    start_us: int
    end_us: int


def month_at(wall_us: int, zone: str) -> Month:
    """The month of `zone` at a wall time. Raises zoneinfo.ZoneInfoNotFoundError for an unknown zone.

    A month begins when its first midnight comes: where clocks go back over that midnight (St John's, 2009-11-01) the
    month that has begun goes on, so that it begins only once.
    """
    place = ZoneInfo(zone)
    local = datetime.fromtimestamp(wall_us // 1_000_000, place)
    index = local.year * 12 + local.month - 1
    if wall_us >= _begin_us(index + 1, place):
        index += 1
    return Month(f"{index // 12:04}-{index % 12 + 1:02}", _begin_us(index, place), _begin_us(index + 1, place))


def _begin_us(index: int, place: ZoneInfo) -> int:
    return int(datetime(index // 12, index % 12 + 1, 1, tzinfo=place).timestamp()) * 1_000_000

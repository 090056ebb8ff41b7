"""Moments as callers write them: `2026-11-21T10:00:00Z`, `2026-11-21`, or how long ago: `90s`, `15m`, `1h`, `7d`."""

import re
from datetime import UTC, datetime

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGO = re.compile(r"(\d{1,9})([smhdw])")
_MICROSECOND = 1_000_000


def parse_moment(text: str, now: int) -> int:
    """Unix microseconds. A moment without a zone is UTC; `now` is unix microseconds. Raises ValueError."""
    if ago := _AGO.fullmatch(text):
        return max(0, now - int(ago[1]) * _SECONDS[ago[2]] * _MICROSECOND)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time; write 2026-11-21T10:00:00Z, or 1h for an hour ago") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp()) * _MICROSECOND + moment.microsecond)


def show_moment(moment: int) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    seconds, rest = divmod(moment, _MICROSECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"

"""HTTP dates (RFC 9110, 5.6.7): the one format that is written, and the two old ones that must be read."""

import re
from datetime import UTC, datetime

_MONTHS = {name: at for at, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_MONTH = b"|".join(_MONTHS)
_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_FORMATS = tuple(
    re.compile(pattern).fullmatch
    for pattern in (
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) (?P<month>%b) (?P<year>\d{4}) %b GMT" % (_MONTH, _TIME),
        rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-(?P<month>%b)-(?P<year>\d\d) %b GMT"
        % (_MONTH, _TIME),
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<month>%b) (?P<day>[\d ]\d) %b (?P<year>\d{4})" % (_MONTH, _TIME),
    )
)


def read_date(value: bytes | None, now: float) -> float | None:
    """Unix seconds of an HTTP date, None where it is none. `now`, in unix seconds, decides about years of two digits:
    one that seems more than 50 years ahead is of the past.
    """
    if value is None:
        return None
    for matches in _FORMATS:
        match = matches(value)
        if match is not None:
            year, day, hour, minute, second = (int(match[name]) for name in ("year", "day", "hour", "minute", "second"))
            if len(match["year"]) == 2:
                this = datetime.fromtimestamp(now, UTC).year
                year += this - this % 100
                year -= 100 if year > this + 50 else 0
            try:
                found = datetime(year, _MONTHS[match["month"]], day, hour, minute, min(second, 59), tzinfo=UTC)
            except ValueError:
                return None
            return found.timestamp()
    return None

"""How a month's usage is read from the roll-ups."""

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, cast, func, or_, select

from gateway.control.analytics.measures import DAY
from gateway.control.analytics.question import TooMany
from gateway.control.analytics.report import SUMS, WHO, Month, Report, make_report
from gateway.control.api.scope import Scope
from gateway.control.tables import rollups

_MOST = 100_000  # lines
_LONGEST = 32 * DAY  # that a month goes on after the calendar month in which it began, and a day for the zones


def read_month(connection: Connection, scope: Scope, month: Month, consumer: str = "") -> Report:
    """What is in `scope`, or of it what is `consumer`'s; of each consumer the largest line first. Raises TooMany."""
    who = [rollups.c[name] for name in WHO]
    sums = [cast(func.sum(rollups.c[name]), BigInteger).label(name) for name in SUMS]
    days = rollups.c.start >= month.begin - DAY, rollups.c.start < month.end + _LONGEST
    whose = scope.of(rollups) if not consumer else and_(scope.of(rollups), rollups.c.consumer == consumer)
    query = (
        select(*who, *sums)
        .where(rollups.c.grain == "day", rollups.c.is_private, *days, whose, _is_of(month))
        .group_by(*who)
        .order_by(rollups.c.consumer, sums[SUMS.index("units")].desc(), *who)
        .limit(_MOST + 1)
    )
    rows = connection.execute(query).all()
    if len(rows) > _MOST:
        raise TooMany("the report has too many lines; ask for one consumer")
    return make_report(month, [tuple(row) for row in rows])


def _is_of(month: Month) -> ColumnElement[bool]:
    period = rollups.c.period
    if not month.is_calendar:
        return period == month.name
    uncharged = and_(period == "", rollups.c.start >= month.begin, rollups.c.start < month.end)
    return or_(period == month.name, period.startswith(f"{month.name}-"), uncharged)

"""What consumers used in a month, from the stored requests."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from gateway.control.store import Store
from gateway.control.tables import requests


def month_usage(store: Store, month: str) -> list[dict[str, Any]]:
    """Requests, units and tokens of each consumer in a calendar month of UTC ("2026-11"), the largest first.

    Raises ValueError for what is not a month.
    """
    try:
        begin = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{month!r} is not a month; write it like 2026-11") from None
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    units = func.sum(requests.c.units).label("units")
    query = (
        select(
            requests.c.consumer,
            requests.c.tier,
            func.count().label("requests"),
            units,
            func.sum(requests.c.tokens_in).label("tokens_in"),
            func.sum(requests.c.tokens_out).label("tokens_out"),
        )
        .where(requests.c.started >= _microseconds(begin), requests.c.started < _microseconds(end))
        .group_by(requests.c.consumer, requests.c.tier)
        .order_by(units.desc(), requests.c.consumer)
    )
    with store.reading.connect() as connection:
        rows = connection.execute(query).mappings().all()
    sums = ("units", "tokens_in", "tokens_out")  # PostgreSQL's are decimals
    found = [{**row, **{name: int(row[name]) for name in sums}} for row in rows]
    return [{**row, "units": row["units"] / 1000} for row in found]


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000

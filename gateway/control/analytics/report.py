"""The usage report of a month: what each consumer used, by model, to the unit. Pure, and without a database.

A month is the ledger's: each consumer's units are counted by the name of the month that they were charged to, in its
zone and from its day, and so here. What was charged to none is told by the calendar of UTC.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

_MONTH = re.compile(r"\d{4}-\d{2}(-\d{2})?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

WHO = ("consumer", "project", "tier", "period", "route", "model")
SUMS = (
    "requests", "units", "tokens_in", "tokens_out", "tokens_cached", "cost_nano", "unpriced", "estimated",
)  # fmt: skip
COLUMNS = (
    *WHO, "requests", "units", "prompt_tokens", "completion_tokens", "cached_tokens", "total_cost",
    "unpriced_requests", "estimated_requests",
)  # fmt: skip


class Month(msgspec.Struct, frozen=True):
    """The calendar month (2026-11) or the month that begins on a day (2026-11-15); its begin and end in UTC.

    A calendar month's report holds the months that begin within it as well.
    """

    name: str
    begin: int
    end: int

    @property
    def is_calendar(self) -> bool:
        return len(self.name) == 7


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Money is USD. Of `unpriced_requests` no price was known; the tokens of `estimated_requests` nobody counted."""

    requests: int
    units: float
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    total_cost: float
    unpriced_requests: int
    estimated_requests: int


class Line(Figures, frozen=True, kw_only=True):
    """What one consumer used of one model in one month of his."""

    consumer: str
    project: str
    tier: str
    period: str
    route: str
    model: str


class Report(msgspec.Struct, frozen=True):
    """`consumers` are the sums of their lines, `total` that of all."""

    period: str
    lines: list[Line]
    consumers: dict[str, Figures]
    total: Figures


def parse_month(text: str) -> Month:
    """Raises ValueError with a sentence for the caller."""
    try:
        if not _MONTH.fullmatch(text):
            raise ValueError
        first = datetime.fromisoformat(text if len(text) == 10 else f"{text}-01").replace(tzinfo=UTC)
        following = first.month % 12 + 1
        end = first.replace(day=1, month=following, year=first.year + (following == 1))
    except ValueError:
        raise ValueError(f"{text[:20]!r} is no month; write 2026-11, or 2026-11-15 for one from that day") from None
    return Month(text, _microseconds(first), _microseconds(end))


def make_report(month: Month, rows: Sequence[Sequence[Any]]) -> Report:
    """`rows` are WHO and SUMS, in this order."""
    lines = [Line(**dict(zip(WHO, row, strict=False)), **_tell(row[len(WHO) :])) for row in rows]
    by_consumer: dict[str, list[Sequence[int]]] = {}
    for row in rows:
        by_consumer.setdefault(row[0], []).append(row[len(WHO) :])
    consumers = {name: Figures(**_tell(_add(sums))) for name, sums in by_consumer.items()}
    return Report(month.name, lines, consumers, Figures(**_tell(_add([row[len(WHO) :] for row in rows]))))


def write_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """RFC 4180, with a line of names. What a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(line[name]) for name in COLUMNS] for line in lines)
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else str(value)


def _tell(sums: Sequence[int]) -> dict[str, Any]:
    requests, units, tokens_in, tokens_out, cached, cost, unpriced, estimated = sums
    return {
        "requests": requests, "units": units / 1000, "prompt_tokens": tokens_in, "completion_tokens": tokens_out,
        "cached_tokens": cached, "total_cost": cost / 1e9, "unpriced_requests": unpriced,
        "estimated_requests": estimated,
    }  # fmt: skip


def _add(rows: Sequence[Sequence[int]]) -> Sequence[int]:
    return [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * len(SUMS)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000

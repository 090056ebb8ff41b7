"""What is asked of the roll-ups, and how they are read: sums by group, as plain numbers."""

from collections.abc import Iterable, Mapping
from operator import add
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, FromClause, Select, cast, func, select, tuple_

from gateway.control.analytics.measures import GRAINS, PRIVATE
from gateway.control.analytics.opinions import select_opinions
from gateway.control.analytics.window import Bucket, Span, Window, find_bucket
from gateway.control.api.scope import Scope
from gateway.control.tables import rollups

_MOST = 50_000  # rows that are fetched: what is beyond is told apart too finely to be read by anybody

Group = tuple[Any, ...]  # the values of `by`, then the bucket's begin where there is one
Sums = dict[Group, tuple[int, ...]]


class TooMany(ValueError):
    """More groups than can be told."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """`by` are dimensions, `only` what some of them must be, `measures` what is summed up.

    `among` are the values of `by` that are told, where not all of them are.

    Calls of models alone count unless `is_whole`: the gateway's own answers are requests, too.
    """

    scope: Scope
    by: tuple[str, ...] = ()
    bucket: Bucket | None = None
    only: Mapping[str, str | tuple[str, ...]] = {}
    measures: tuple[str, ...] = ()
    is_whole: bool = False
    among: tuple[Group, ...] = ()

    @property
    def is_grouped(self) -> bool:
        return bool(self.by or self.bucket)

    @property
    def is_private(self) -> bool:
        """Whether roll-ups are needed that tell consumers apart. They are many more than the others."""
        is_own = not self.scope.everything and not self.scope.project
        return is_own or any(name in PRIVATE for name in (*self.by, *self.only))


def read_sums(connection: Connection, question: Question, window: Window) -> Sums:
    """Sums of `measures` by group. Raises TooMany."""
    sums: Sums = {}
    for span in window.spans:
        rows = connection.execute(_select(question, span).limit(_MOST + 1)).all()
        if len(rows) > _MOST:
            raise TooMany("that makes too many groups; ask about less time, or tell fewer things apart")
        _gather(sums, rows, question)
    return sums


def read_opinions(connection: Connection, question: Question, window: Window) -> dict[Group, list[Any]]:
    """By group: (label, how many, sum of scores) of the feedback on requests of that time."""
    given = select_opinions(window)
    grain = GRAINS["hour" if question.bucket == "hour" else "day"]
    by = [given.c[name] for name in question.by]
    if question.bucket:
        by.append((given.c.started - given.c.started % grain).label("start"))
    query = select(*by, given.c.label, func.count(), func.sum(given.c.score)).where(*_conditions(question, given))
    query = query.group_by(*by, given.c.label).limit(_MOST)
    found: dict[Group, list[Any]] = {}
    for *group, label, count, score in connection.execute(query):
        found.setdefault(_name(tuple(group), question.bucket), []).append((label, int(count), float(score)))
    return found


def _gather(sums: Sums, rows: Iterable[Any], question: Question) -> None:
    width = len(question.by) + bool(question.bucket)
    for row in rows:
        group, values = _name(row[:width], question.bucket), row[width:]
        known = sums.get(group)
        sums[group] = values if known is None else tuple(map(add, known, values))


def _name(group: tuple[Any, ...], bucket: Bucket | None) -> Group:
    return group if bucket in (None, "hour", "day") else (*group[:-1], find_bucket(group[-1], bucket))


def _select(question: Question, span: Span) -> Select[Any]:
    by = [rollups.c[name] for name in question.by] + ([rollups.c.start] if question.bucket else [])
    query = select(*by, *[cast(func.sum(rollups.c[name]), BigInteger) for name in question.measures])
    query = query.where(*_where(question, span), *_conditions(question, rollups))
    return query.group_by(*by) if by else query.having(func.count() > 0)


def _where(question: Question, span: Span) -> Iterable[ColumnElement[bool]]:
    """The table is in the order of grain, is_private, start, consumer: one consumer's rows are found for each start."""
    yield rollups.c.grain == span.grain
    yield rollups.c.is_private == question.is_private
    consumer = question.only.get("consumer") or not (question.scope.everything or question.scope.project)
    if consumer:
        yield rollups.c.start.in_(range(span.begin, span.end, GRAINS[span.grain]))
    else:
        yield rollups.c.start >= span.begin
        yield rollups.c.start < span.end


def _conditions(question: Question, rows: FromClause) -> Iterable[ColumnElement[bool]]:
    yield question.scope.of(rows)
    if not question.is_whole:
        yield rows.c.operation != ""
    if question.by and question.among:
        yield tuple_(*[rows.c[name] for name in question.by]).in_(question.among)
    for name, value in question.only.items():
        yield rows.c[name].in_(value) if isinstance(value, tuple) else rows.c[name] == value

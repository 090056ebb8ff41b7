"""Pages of traces from the store: what is closed, and among it what is still open."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, literal_column, or_, select

from gateway.control.api.scope import Scope
from gateway.control.query.condition import Condition
from gateway.control.query.cursor import Cursor
from gateway.control.query.fields import FIELDS
from gateway.control.query.predicate import to_predicate
from gateway.control.query.sql import find_common, of_scope, to_sql
from gateway.control.query.view import flatten_open
from gateway.control.tables import open_requests, requests
from gateway.journal import Opened

_SORTS = {"started": "ts", "duration": "duration_ms", "cost": "total_cost", "tokens": "total_tokens"}
_open_decoder = msgspec.json.Decoder(Opened)


class Sort(msgspec.Struct, frozen=True):
    field: str = "ts"
    descending: bool = True

    @property
    def text(self) -> str:
        return f"-{self.field}" if self.descending else self.field

    def value(self, row: Any) -> int:
        """What a row is sorted by; a cost that is not known is below all others."""
        value = FIELDS[self.field].value(row)
        return -1 if value is None else value

    def column(self) -> ColumnElement[int]:
        column: ColumnElement[int] = FIELDS[self.field].value(requests.c)
        return func.coalesce(column, -1) if self.field == "total_cost" else column


def parse_sort(text: str) -> Sort:
    """`-ts` or `ts`. Raises ValueError."""
    asked = text.removeprefix("-")
    field = _SORTS.get(asked, asked)
    if field not in _SORTS.values():
        raise ValueError(f"traces are sorted by {', '.join(_SORTS.values())}; a dash before it: the largest first")
    return Sort(field, text.startswith("-"))


def find_rows(
    connection: Connection, scope: Scope, condition: Condition, sort: Sort, after: Cursor | None, limit: int
) -> tuple[Sequence[Any], bool]:
    """At most `limit` rows behind `after`, and whether there are more."""
    open_rows = _find_open(connection, scope, condition) if sort.field == "ts" else []
    dialect = connection.dialect.name
    where = to_sql(condition, dialect, find_common(connection, condition))
    query = select(requests).where(of_scope(scope, condition, dialect), where)
    column, id = sort.column(), requests.c.id
    if after is not None:
        query = query.where(_behind(column, id, sort.descending, after))
        open_rows = [row for row in open_rows if _is_behind(sort, row, after)]
    order = (column.desc(), id.desc()) if sort.descending else (column, id)
    rows: list[Any] = list(connection.execute(query.order_by(*order).limit(limit + 1)))
    if open_rows:
        closed = {row.id for row in rows}
        rows.extend(row for row in open_rows if row.id not in closed)
        rows.sort(key=lambda row: (sort.value(row), row.id), reverse=sort.descending)
    return rows[:limit], len(rows) > limit


def find_row(connection: Connection, scope: Scope, id: str) -> Any | None:
    """One request by its id, or the newest of a W3C trace; open ones, too. None where it may not be seen."""
    mine = scope.of(requests)
    row = connection.execute(select(requests).where(requests.c.id == id, mine)).one_or_none()
    if row is not None:
        return row
    pending = connection.execute(select(open_requests).where(open_requests.c.id == id)).one_or_none()
    if pending is not None:
        opened = _flatten(pending)
        return opened if scope.holds(opened.project, opened.consumer) else None
    within = select(requests).where(requests.c.trace == id, requests.c.parent != literal_column("''"), mine)
    return connection.execute(within.order_by(requests.c.started.desc()).limit(1)).first()


def _behind(column: Any, id: Any, descending: bool, after: Cursor) -> ColumnElement[bool]:
    """Written so that an index on the column alone finds the place."""
    if descending:
        return and_(column <= after.value, or_(column < after.value, id < after.id))
    return and_(column >= after.value, or_(column > after.value, id > after.id))


def _is_behind(sort: Sort, row: Any, after: Cursor) -> bool:
    here, there = (sort.value(row), row.id), (after.value, after.id)
    return here < there if sort.descending else here > there


def _find_open(connection: Connection, scope: Scope, condition: Condition) -> list[Any]:
    """What goes on at this moment: a few hundred at most, which the journal's own lines tell of."""
    holds = to_predicate(condition)
    rows = map(_flatten, connection.execute(select(open_requests)))
    return [row for row in rows if scope.holds(row.project, row.consumer) and holds(row)]


def _flatten(row: Any) -> Any:
    return flatten_open(_open_decoder.decode(row.record), row.bytes_out, row.tokens_out)

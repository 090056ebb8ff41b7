"""How a batch is written: SQL text made from the tables, and tuples below it.

SQLAlchemy's own handling of parameters costs more than the insert itself; the rest of control uses Core. Requests are
handled by columns: what no request of a batch makes use of, often a third of them, SQLite is not told row by row.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct, structs
from sqlalchemy import Boolean, Connection, Text
from sqlalchemy.dialects import postgresql, sqlite

from gateway.control.analytics.fold import queue_rows
from gateway.control.analytics.tally import Columns
from gateway.control.audit.failures import count_failures
from gateway.control.batch import Batch
from gateway.control.bulk import copy_rows
from gateway.control.insertion import Insert, insert_into, name_columns
from gateway.control.tables import column_names, contents, open_requests, requests, writer_usage
from gateway.journal import Closed, Opened


def _pick(record: type[Struct]) -> Callable[[Columns], Columns]:
    """What the table holds of the fields of a record."""
    fields = [field.name for field in structs.fields(record)]
    return itemgetter(*[fields.index(name) for name in column_names(record)])


_of_opened, _of_closed = _pick(Opened), _pick(Closed)
_names = name_columns(requests)
_empty = ["''" if isinstance(column.type, Text) else "0" for column in requests.columns]
_nullable = [column.nullable for column in requests.columns]
_truth = [isinstance(column.type, Boolean) for column in requests.columns]


def write_batch(connection: Connection, batch: Batch, writer: str) -> None:
    """Write everything in `batch`, within the caller's transaction."""
    texts = _compile(connection.dialect.name)
    usage = [(writer, *month, units) for month, units in batch.usage.items()]
    if batch.finished:
        columns = _transpose(batch.finished, writer)
        _WRITERS[connection.dialect.name](connection, columns)
        queue_rows(connection, columns)
        count_failures(connection, batch.finished)
    for statement, rows in (
        (texts.contents, batch.contents),
        (texts.open, batch.opened),
        (texts.progress, batch.progress),
        (texts.close, batch.closed),
        (texts.usage, usage),
        (texts.used, _last_uses(batch)),
    ):
        if rows:
            connection.exec_driver_sql(statement, rows)


def _transpose(finished: Sequence[Closed], writer: str) -> Columns:
    opened = [*zip(*[structs.astuple(closed.opened) for closed in finished], strict=True)]
    closed = [*zip(*map(structs.astuple, finished), strict=True)]
    return (*_of_opened(opened), *_of_closed(closed), (writer,) * len(finished))


class _Texts(NamedTuple):
    """The statements of a batch."""

    contents: str
    open: str
    usage: str
    progress: str
    close: str
    used: str


@cache
def _compile(dialect: str) -> _Texts:
    """Parameters stand as `?` for SQLite, `%s` for psycopg."""
    compiler = sqlite.dialect() if dialect == "sqlite" else postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
    mark, most = ("?", "max") if dialect == "sqlite" else ("%s", "greatest")

    def text(statement: Insert) -> str:
        return str(statement.compile(dialect=compiler))

    opened, usage = insert_into(dialect, open_requests), insert_into(dialect, writer_usage)
    replaced = {column.name: opened.excluded[column.name] for column in open_requests.columns if column.name != "id"}
    added = {"units": writer_usage.c.units + usage.excluded.units}
    return _Texts(
        contents=text(insert_into(dialect, contents).on_conflict_do_nothing()),
        open=text(opened.on_conflict_do_update(index_elements=["id"], set_=replaced)),
        usage=text(usage.on_conflict_do_update(index_elements=list(writer_usage.primary_key), set_=added)),
        progress=f"UPDATE open_requests SET bytes_out = {mark}, tokens_out = {mark} WHERE id = {mark}",
        close=f"DELETE FROM open_requests WHERE id = {mark}",
        # the store's keys alone; in the order of their ids, as two replicas may do it at once
        used=f"UPDATE keys SET last_used = {most}(last_used, {mark}) WHERE id = {mark} AND consumer = {mark}",
    )


def _insert_rows(connection: Connection, columns: Columns) -> None:
    is_held = [nullable or any(values) for nullable, values in zip(_nullable, columns, strict=True)]
    marks = ", ".join(["?" if held else empty for held, empty in zip(is_held, _empty, strict=True)])
    plain = [  # sqlite3 knows int at once, and looks for adapters of bool
        map(int, values) if truth else values for values, truth in zip(columns, _truth, strict=True)
    ]
    rows = [*zip(*compress(plain, is_held), strict=True)]
    connection.exec_driver_sql(f"INSERT INTO requests ({_names}) VALUES ({marks}) ON CONFLICT DO NOTHING", rows)


def _copy_rows(connection: Connection, columns: Columns) -> None:
    copy_rows(connection, requests, zip(*columns, strict=True), "DO NOTHING")


_WRITERS: dict[str, Callable[[Connection, Columns], None]] = {"sqlite": _insert_rows, "postgresql": _copy_rows}


def _last_uses(batch: Batch) -> list[tuple[int, str, str]]:
    """The last use of each key that the batch shows. A refused key was not used."""
    last: dict[tuple[str, str], int] = {}
    for closed in batch.finished:
        opened = closed.opened
        if opened.credential and last.get(who := (opened.credential, opened.consumer), 0) < opened.started:
            last[who] = opened.started
    return [(started, *who) for who, started in sorted(last.items())]

"""How a batch is written: SQL text made once from the tables for each database, and tuples below it.

SQLAlchemy's own handling of parameters costs more than the insert itself; the rest of control uses Core.
"""

from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct, structs
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from gateway.control.analytics.fold import queue_rows
from gateway.control.audit.failures import count_failures
from gateway.control.batch import Batch, Row
from gateway.control.bulk import copy_rows
from gateway.control.insertion import Insert, insert_into
from gateway.control.tables import column_names, contents, open_requests, requests, writer_usage
from gateway.journal import Closed, Opened


def _pick(record: type[Struct]) -> Callable[[Row], Row]:
    """What a row holds of the fields of a record."""
    fields = [field.name for field in structs.fields(record)]
    return itemgetter(*[fields.index(name) for name in column_names(record)])


_of_opened, _of_closed = _pick(Opened), _pick(Closed)


def write_batch(connection: Connection, batch: Batch, writer: str) -> None:
    """Write everything in `batch`, within the caller's transaction."""
    texts = _compile(connection.dialect.name)
    last, plain = (writer,), structs.astuple
    finished = [_of_opened(plain(closed.opened)) + _of_closed(plain(closed)) + last for closed in batch.finished]
    usage = [(writer, *month, units) for month, units in batch.usage.items()]
    if finished:
        _WRITERS[connection.dialect.name](connection, texts.requests, finished)
        queue_rows(connection, finished)
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


class _Texts(NamedTuple):
    """The statements of a batch."""

    requests: str
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
        requests=text(insert_into(dialect, requests).on_conflict_do_nothing()),
        contents=text(insert_into(dialect, contents).on_conflict_do_nothing()),
        open=text(opened.on_conflict_do_update(index_elements=["id"], set_=replaced)),
        usage=text(usage.on_conflict_do_update(index_elements=list(writer_usage.primary_key), set_=added)),
        progress=f"UPDATE open_requests SET bytes_out = {mark}, tokens_out = {mark} WHERE id = {mark}",
        close=f"DELETE FROM open_requests WHERE id = {mark}",
        # the store's keys alone; in the order of their ids, as two replicas may do it at once
        used=f"UPDATE keys SET last_used = {most}(last_used, {mark}) WHERE id = {mark} AND consumer = {mark}",
    )


def _insert_rows(connection: Connection, statement: str, rows: list[Row]) -> None:
    connection.exec_driver_sql(statement, rows)


def _copy_rows(connection: Connection, _: str, rows: list[Row]) -> None:
    copy_rows(connection, requests, rows, "DO NOTHING")


_WRITERS: dict[str, Callable[[Connection, str, list[Row]], None]] = {"sqlite": _insert_rows, "postgresql": _copy_rows}


def _last_uses(batch: Batch) -> list[tuple[int, str, str]]:
    """The last use of each key that the batch shows. A refused key was not used."""
    last: dict[tuple[str, str], int] = {}
    for closed in batch.finished:
        opened = closed.opened
        if opened.credential and last.get(who := (opened.credential, opened.consumer), 0) < opened.started:
            last[who] = opened.started
    return [(started, *who) for who, started in sorted(last.items())]

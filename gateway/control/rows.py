"""How a batch is written: plain SQL text made once from the tables, and executemany of tuples below it.

SQLAlchemy's own handling of parameters costs more than SQLite's insert; the rest of control uses Core.
"""

from operator import attrgetter

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite

from gateway.control.batch import Batch
from gateway.control.tables import column_names, contents, open_requests, requests, writer_usage
from gateway.journal import Closed, Opened


def _compile(statement: sqlite.Insert) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


_add_units = sqlite.insert(writer_usage)
_INSERT = _compile(sqlite.insert(requests).on_conflict_do_nothing())
_CONTENT = _compile(sqlite.insert(contents).on_conflict_do_nothing())
_OPEN = _compile(sqlite.insert(open_requests).prefix_with("OR REPLACE"))
_ADD = _compile(
    _add_units.on_conflict_do_update(
        index_elements=list(writer_usage.primary_key),
        set_={"units": writer_usage.c.units + _add_units.excluded.units},
    )
)
_PROGRESS = "UPDATE open_requests SET bytes_out = ?, tokens_out = ? WHERE id = ?"
_of_opened = attrgetter(*column_names(Opened))
_of_closed = attrgetter(*column_names(Closed))
_USED = "UPDATE keys SET last_used = max(last_used, ?) WHERE id = ? AND consumer = ?"  # the store's keys alone
_CLOSE = "DELETE FROM open_requests WHERE id = ?"


def write_batch(connection: Connection, batch: Batch, writer: str) -> None:
    """Write everything in `batch`, within the caller's transaction."""
    finished = [(*_of_opened(closed.opened), *_of_closed(closed), writer) for closed in batch.finished]
    usage = [(writer, *month, units) for month, units in batch.usage.items()]
    for statement, rows in (
        (_INSERT, finished),
        (_CONTENT, batch.contents),
        (_OPEN, batch.opened),
        (_PROGRESS, batch.progress),
        (_CLOSE, batch.closed),
        (_ADD, usage),
        (_USED, _last_uses(batch)),
    ):
        if rows:
            connection.exec_driver_sql(statement, rows)


def _last_uses(batch: Batch) -> list[tuple[int, str, str]]:
    """The last use of each key that the batch shows. A refused key was not used."""
    last: dict[tuple[str, str], int] = {}
    for closed in batch.finished:
        opened = closed.opened
        if opened.credential and last.get(who := (opened.credential, opened.consumer), 0) < opened.started:
            last[who] = opened.started
    return [(started, *who) for who, started in last.items()]

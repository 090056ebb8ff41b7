"""How a batch is written: plain SQL text made once from the tables, and executemany of tuples below it.

SQLAlchemy's own handling of parameters costs more than SQLite's insert; the rest of control uses Core.
"""

from msgspec.structs import astuple
from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite

from gateway.control.batch import Batch
from gateway.control.tables import open_requests, requests, writer_usage


def _compile(statement: sqlite.Insert) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


_add_units = sqlite.insert(writer_usage)
_INSERT = _compile(sqlite.insert(requests).on_conflict_do_nothing())
_OPEN = _compile(sqlite.insert(open_requests).prefix_with("OR REPLACE"))
_ADD = _compile(
    _add_units.on_conflict_do_update(
        index_elements=list(writer_usage.primary_key),
        set_={"units": writer_usage.c.units + _add_units.excluded.units},
    )
)
_PROGRESS = "UPDATE open_requests SET bytes_out = ?, tokens_out = ? WHERE id = ?"
_CLOSE = "DELETE FROM open_requests WHERE id = ?"


def write_batch(connection: Connection, batch: Batch, writer: str) -> None:
    """Write everything in `batch`, within the caller's transaction."""
    finished = [(*astuple(closed.opened), *astuple(closed)[1:], writer) for closed in batch.finished]
    usage = [(writer, *month, units) for month, units in batch.usage.items()]
    for statement, rows in (
        (_INSERT, finished),
        (_OPEN, batch.opened),
        (_PROGRESS, batch.progress),
        (_CLOSE, batch.closed),
        (_ADD, usage),
    ):
        if rows:
            connection.exec_driver_sql(statement, rows)

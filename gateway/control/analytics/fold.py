"""How the roll-ups are kept: exactly what the stored requests add up to, each of them once.

The transaction that stores requests also leaves their `Entries` in the table `rollup_queue`, as one blob. A fold, in a
transaction of its own, adds some of these to the roll-ups and removes them. What takes a connection runs within the
caller's transaction of `store.writing`.
"""

from functools import cache
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select
from sqlalchemy.dialects import sqlite

from gateway.control.analytics.measures import DAY, MEASURES
from gateway.control.analytics.tally import SOURCE, Columns, Entries, merge, pack, spread, tally, unpack
from gateway.control.bulk import copy_rows
from gateway.control.store import Store
from gateway.control.tables import requests, rollup_due, rollup_queue, rollups

_LOCK = 0x726F6C6C  # of PostgreSQL's advisory locks: who changes roll-ups, among all replicas
_ENTRIES = 2000  # folded in one transaction, more or less: others wait for it
_PIECES = 200  # of the queue, the same
_ROWS = 10_000  # fetched at once
_CONFLICT = "({}) DO UPDATE SET {}".format(
    ", ".join(column.name for column in rollups.primary_key),
    ", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in MEASURES),
)
_pick = itemgetter(*[[column.name for column in requests.columns].index(name) for name in SOURCE])


def queue_rows(connection: Connection, columns: Columns) -> None:
    """Some requests are being stored: `columns` are those of their table, all and in order."""
    connection.execute(insert(rollup_queue), {"entries": pack(tally(_pick(columns)))})


def fold(connection: Connection, most: int = _ENTRIES) -> bool:
    """Add the oldest of what waits to the roll-ups; False when nothing waited."""
    _lock(connection)
    entries: Entries = {}
    taken = []
    waiting = select(rollup_queue).order_by(rollup_queue.c.number).limit(_PIECES)
    for number, data in connection.execute(waiting).all():
        merge(entries, unpack(data))
        taken.append(number)
        if len(entries) >= most:
            break
    if taken:
        connection.execute(delete(rollup_queue).where(rollup_queue.c.number.in_(taken)))
        _add(connection, entries)
    return bool(taken)


def rebuild(store: Store, day: int) -> None:
    """Roll up the stored requests of a day anew. One whose requests were removed meanwhile keeps what it has.

    Reads before it locks; where more was stored in between, once more.
    """
    with store.reading.connect() as connection:
        found = _tally_day(connection, day)
    with store.writing.begin() as connection:
        _lock(connection, is_queue_shut=True)
        while fold(connection):
            pass
        if _count(connection, day) != found.requests:
            found = _tally_day(connection, day)
        of_day = rollups.c.start >= day, rollups.c.start < day + DAY
        known = select(func.sum(rollups.c.requests)).where(rollups.c.grain == "day", ~rollups.c.is_private, *of_day)
        if found.requests >= (connection.scalar(known) or 0):
            connection.execute(delete(rollups).where(*of_day))
            _add(connection, found.entries)
        connection.execute(delete(rollup_due).where(rollup_due.c.start == day))


def forget_hours(connection: Connection, before: int) -> None:
    """Of what began earlier only days are kept."""
    connection.execute(delete(rollups).where(rollups.c.grain == "hour", rollups.c.start < before))


def find_due(connection: Connection) -> list[int]:
    """The days that are to be rebuilt, the newest first."""
    return list(connection.scalars(select(rollup_due.c.start).order_by(rollup_due.c.start.desc())))


def make_due(connection: Connection) -> None:
    """Have every day rebuilt of which requests are stored."""
    day = requests.c.started - requests.c.started % DAY
    connection.execute(delete(rollup_due))
    connection.execute(insert(rollup_due).from_select(["start"], select(day).distinct()))


class _Found(NamedTuple):
    entries: Entries
    requests: int


def _lock(connection: Connection, is_queue_shut: bool = False) -> None:
    """SQLite's transactions that write are alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        if is_queue_shut:
            connection.exec_driver_sql("LOCK TABLE rollup_queue IN SHARE ROW EXCLUSIVE MODE")


def _tally_day(connection: Connection, day: int) -> _Found:
    wanted = select(*[requests.c[name] for name in SOURCE]).where(*_of_day(day))
    entries: Entries = {}
    count = 0
    for rows in connection.execution_options(yield_per=_ROWS).execute(wanted).partitions():
        merge(entries, tally([*zip(*rows, strict=True)]))
        count += len(rows)
    return _Found(entries, count)


def _count(connection: Connection, day: int) -> int:
    return connection.scalar(select(func.count()).select_from(requests).where(*_of_day(day))) or 0


def _of_day(day: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return requests.c.started >= day, requests.c.started < day + DAY


def _add(connection: Connection, entries: Entries) -> None:
    """In the order of their keys, as two replicas may do it at once."""
    rows = [
        (grain, is_private, *key, *entry)
        for (grain, is_private), coarse in spread(entries).items()
        for key, entry in sorted(coarse.items())
    ]
    if rows and connection.dialect.name == "postgresql":
        copy_rows(connection, rollups, rows, _CONFLICT)
    elif rows:
        connection.exec_driver_sql(_compile_sqlite(), rows)


@cache
def _compile_sqlite() -> str:
    new = sqlite.insert(rollups)
    sums = {name: rollups.c[name] + new.excluded[name] for name in MEASURES}
    added = new.on_conflict_do_update(index_elements=list(rollups.primary_key), set_=sums)
    return str(added.compile(dialect=sqlite.dialect()))

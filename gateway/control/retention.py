"""How long traces are kept, and how large the store may be: the oldest go, a few at a time, while requests are stored.

Sums by hour and day stay. What was asked and answered may go sooner than its trace. PostgreSQL's disk is the
operator's: there the age alone counts, since its tables do not shrink by a deletion.
"""

from collections.abc import Callable

from sqlalchemy import Connection, Engine, Select, Table, delete, func, select, text

from gateway.control.store import Store
from gateway.control.tables import contents, feedback, requests
from gateway.settings.schema import State

_BATCH = 1000  # rows in one transaction: whoever writes waits for it
_FREE = 256  # free pages given back to the disk at once
_SPARE = 4096  # free pages that are kept for what comes: the file would only grow again
_LOCK = 0x70727565  # of PostgreSQL's advisory locks: one replica prunes

AGE, SIZE = "age", "size"


class Retention:
    """Prunes `store` as `limits` say. `clock` is unix microseconds. Blocks; raises what the store raises."""

    def __init__(self, store: Store, limits: State, clock: Callable[[], int]) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self.removed = {AGE: 0, SIZE: 0}  # traces, by why they went

    def step(self) -> bool:
        """Remove one batch of what is too old or too much; False when nothing is."""
        limits = self._limits
        with self._store.writing.begin() as connection:
            if not _may_prune(connection):
                return False
            busy = False
            if limits.retention:
                before = self._before(limits.retention)
                removed = _remove(connection, _oldest().where(requests.c.started < before))
                self.removed[AGE] += removed
                busy |= removed == _BATCH
                busy |= _remove_feedback(connection, before)
            if limits.retention_contents:
                busy |= _remove_contents(connection, self._before(limits.retention_contents))
            if not self._store.is_shared and limits.size and used_bytes(connection) > limits.size:
                removed = _remove(connection, _oldest())
                self.removed[SIZE] += removed
                busy |= removed > 0
        return busy

    def give_back(self) -> bool:
        """Return some unused space of SQLite's file to the disk; False when there is not much."""
        if self._store.is_shared:
            return False
        with self._store.writing.connect() as connection:
            if _pragma(connection, "freelist_count") <= _SPARE or _pragma(connection, "auto_vacuum") != 2:
                return False
            connection.exec_driver_sql(f"PRAGMA incremental_vacuum({_FREE})")
            connection.commit()
        return True

    def _before(self, age: float) -> int:
        return self._clock() - int(age * 1_000_000)


def vacuum(writing: Engine) -> None:
    """Write SQLite's file anew, as small as it can be. Nobody else can write meanwhile, and it takes its size again."""
    connection = writing.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
        cursor.execute("VACUUM")
    finally:
        connection.close()


def used_bytes(connection: Connection) -> int:
    """What a SQLite's file holds, without its free pages."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def stored_bytes(connection: Connection) -> int:
    """What the store takes of the disk, its journals not counted."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    return _pragma(connection, "page_count") * _pragma(connection, "page_size")


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _may_prune(connection: Connection) -> bool:
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK))).scalar())


def _oldest() -> Select[tuple[str]]:
    return select(requests.c.id).order_by(requests.c.started).limit(_BATCH)


def _remove(connection: Connection, query: Select[tuple[str]]) -> int:
    """Remove requests and all that hangs on them."""
    ids = connection.scalars(query).all()
    if ids:
        connection.execute(delete(contents).where(contents.c.id.in_(ids)))
        connection.execute(delete(feedback).where(feedback.c.request.in_(ids)))
        connection.execute(delete(requests).where(requests.c.id.in_(ids)))
    return len(ids)


def _remove_feedback(connection: Connection, before: int) -> bool:
    """What is left of requests that went while it was said, or that never came."""
    old = feedback.c.of_started < before, feedback.c.created < before
    return _remove_some(connection, feedback, select(feedback.c.id).where(*old))


def _remove_contents(connection: Connection, before: int) -> bool:
    """Ids begin with their time in milliseconds."""
    oldest = select(contents.c.id).where(contents.c.id < f"{max(before, 0) // 1000:012x}").order_by(contents.c.id)
    return _remove_some(connection, contents, oldest)


def _remove_some(connection: Connection, table: Table, query: Select[tuple[str]]) -> bool:
    """A batch of the rows with the ids of `query`; whether there may be more."""
    ids = connection.scalars(query.limit(_BATCH)).all()
    if ids:
        connection.execute(delete(table).where(table.c.id.in_(ids)))
    return len(ids) == _BATCH

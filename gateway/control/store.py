"""How the store is opened: SQLite in WAL mode, which survives kill -9 at any point, or a shared PostgreSQL.

SQLite belongs to one gateway, which upgrades it when it is opened. PostgreSQL is shared, and upgraded by a command
alone: no replica migrates it under another.
"""

import os
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError, OperationalError

from gateway.control.schema import StoreError, check_schema, upgrade

__all__ = ["Store", "StoreAway", "StoreError", "checkpoint", "look_into", "open_store", "show", "upgrade_store"]

_LOCK = 0x746F6C6C  # of PostgreSQL's advisory locks, ours: whoever changes the directory holds it
_POSTGRES: dict[str, Any] = {
    "application_name": "tollkeeper",
    "connect_timeout": 3,  # seconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # ms: a host that is gone is noticed
    "options": "-c lock_timeout=5s -c idle_in_transaction_session_timeout=60s -c timezone=UTC "
    "-c random_page_cost=1.1",  # discs have no heads: else a project's rows are looked for among all others
}


class StoreAway(StoreError):
    """Nobody answers at the store's address now; it may be tried again."""


class Store(NamedTuple):
    """Three views of one pool. SQLite's transactions of `writing` hold the write lock from their start.

    Those of `changing` are for keys and consumers: only one of them runs at a time, among all replicas.
    """

    reading: Engine
    writing: Engine
    changing: Engine

    @property
    def is_shared(self) -> bool:
        """Whether other replicas may use it too."""
        return self.reading.dialect.name == "postgresql"

    def close(self) -> None:
        self.reading.dispose()


def open_store(location: str) -> Store:
    """Open the store in the file, or at the URL `location`. Raises StoreError, StoreAway."""
    store = _connect(location)
    try:
        with store.changing.begin() as connection:
            (check_schema if store.is_shared else upgrade)(connection)
    except BaseException as error:
        store.close()
        raise _explain(error, location) from error
    return store


def look_into(location: str) -> Store:
    """The store as it stands, whatever its schema is."""
    return _connect(location)


def upgrade_store(location: str) -> str:
    """Bring the store to this version's schema, making it if need be; which it had. Raises StoreError, StoreAway."""
    store = _connect(location)
    try:
        with store.changing.begin() as connection:
            return upgrade(connection)
    except BaseException as error:
        raise _explain(error, location) from error
    finally:
        store.close()


def show(location: str) -> str:
    """A location for people: without its password."""
    return str(make_url(location).set(password=None)) if "://" in location else location


def checkpoint(store: Store) -> None:
    """Bring what is committed to the disk itself. PostgreSQL has done so."""
    if store.is_shared:
        return
    connection = store.writing.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        connection.close()


def _connect(location: str) -> Store:
    return _connect_postgres(location) if "://" in location else _connect_sqlite(location)


def _connect_sqlite(path: str) -> Store:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would make it readable to all
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 2.0})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    writing = engine.execution_options(begin="IMMEDIATE")
    return Store(engine, writing, writing)


def _connect_postgres(url: str) -> Store:
    """`url` may set options of libpq that we set as well."""
    parts = make_url(url).set(drivername="postgresql+psycopg")
    own = {name: value for name, value in _POSTGRES.items() if name not in parts.query}
    try:
        engine = create_engine(parts, connect_args=own, pool_pre_ping=True, pool_timeout=5.0)
    except ImportError:
        raise StoreError("PostgreSQL needs the package psycopg: pip install 'tollkeeper[postgres]'") from None
    changing = engine.execution_options()
    event.listen(changing, "begin", _take_lock)
    return Store(engine, engine, changing)


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours: sqlite3 would not begin one for a change of the schema
    if connection.execute("PRAGMA page_count").fetchone() == (0,):  # a new file
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")


def _take_lock(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _explain(error: BaseException, location: str) -> BaseException:
    """What is told in place of `error`."""
    if isinstance(error, OperationalError) and "://" in location:
        return StoreAway(f"{show(location)} cannot be reached: {str(error.orig).strip()}")
    if isinstance(error, DatabaseError):
        return StoreError(f"{show(location)} cannot be used: {str(error.orig).strip()}")
    return error

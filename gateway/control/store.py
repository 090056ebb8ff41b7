"""How the trace store is opened and upgraded: SQLite in WAL mode, which survives kill -9 at any point.

An upgrade is one transaction: a killed one has not happened.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError

from gateway.control.tables import REVISION


class StoreError(Exception):
    """The store cannot be used; the text says why and what to do."""


class Store(NamedTuple):
    """Two views of one pool: transactions of `writing` hold the write lock from their start."""

    reading: Engine
    writing: Engine


def open_store(path: str) -> Store:
    """Open the store at `path`, making or upgrading it. Raises StoreError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would make it readable to all
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 2.0})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    store = Store(engine, engine.execution_options(begin="IMMEDIATE"))
    try:
        with store.writing.begin() as connection:
            _upgrade(connection)
    except DatabaseError as error:
        engine.dispose()
        raise StoreError(f"{path} cannot be used: {error.orig}") from error
    except BaseException:
        engine.dispose()
        raise
    return store


def checkpoint(store: Store) -> None:
    """Bring what is committed to the disk itself."""
    connection = store.writing.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        connection.close()


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours: sqlite3 would not begin one for a change of the schema
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")


def _upgrade(connection: Connection) -> None:
    """Bring the schema to REVISION. Alembic is imported only where there is something to do."""
    revision = ""
    if inspect(connection).has_table("alembic_version"):
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""
    if revision == REVISION:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision and revision not in known:
        raise StoreError(
            f"the store has the schema {revision}, which this version (schema {REVISION}) does not know: "
            "it was written by a newer Tollkeeper. Start that version, or restore a copy."
        )
    command.upgrade(config, "head")

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select

from gateway.control import store as module
from gateway.control.store import Store, StoreError, open_store
from gateway.control.tables import REVISION, consumers, metadata, requests
from gateway.journal import Closed, Opened


def test_migrations_make_the_tables_that_the_code_uses(store: Store) -> None:
    """But for the index of words, which no two databases make alike."""

    def is_plain(name: str | None, _kind: str, parents: Mapping[str, str | None]) -> bool:
        return not str(name).startswith("contents_") and (name, parents.get("table_name")) != ("number", "contents")

    with store.reading.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_plain})
        assert compare_metadata(context, metadata) == []


def test_the_revision_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(module.__file__).with_name("migrations")))
    assert scripts.get_heads() == [REVISION]


def test_a_row_holds_every_field_of_the_journal() -> None:
    """What stays charged is summed up instead: by writer, counter and period."""
    fields = [*Opened.__struct_fields__, *Closed.__struct_fields__[1:], "writer"]
    fields = [field for field in fields if field != "charges"]
    assert [column.name for column in requests.columns] == fields


def test_what_was_stored_is_there_after_opening_again(store: Store, tmp_path: Path) -> None:
    values = {"name": "acme", "tier": "pro", "project": "", "models": ["qwen*"], "routes": [], "created": 1}
    with store.writing.begin() as connection:
        connection.execute(insert(consumers).values(values))
    again = open_store(str(tmp_path / "store.sqlite"))
    with again.reading.connect() as connection:
        (found,) = connection.execute(select(consumers)).mappings().all()
        assert values.items() <= dict(found).items()
    again.reading.dispose()


def test_reading_goes_on_while_somebody_writes(store: Store) -> None:
    with store.writing.begin() as writing, store.reading.connect() as reading:
        writing.exec_driver_sql("DELETE FROM consumers")
        assert reading.execute(select(consumers)).all() == []


def test_postgres_is_told_what_its_connections_are_for(postgres_store: Store) -> None:
    with postgres_store.reading.connect() as connection:
        for name, value in (("random_page_cost", "1.1"), ("lock_timeout", "5s"), ("timezone", "UTC")):
            assert connection.exec_driver_sql(f"SHOW {name}").scalar() == value


def test_nobody_else_may_read_the_file(store: Store, tmp_path: Path) -> None:
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_newer_store_is_refused(store: Store, tmp_path: Path) -> None:
    with store.writing.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"schema 9999.*newer"):
        open_store(str(tmp_path / "store.sqlite"))


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"this is not a database, and long enough to be told from one" * 20)
    with pytest.raises(StoreError, match=r"store\.sqlite cannot be used"):
        open_store(str(path))


def test_a_killed_upgrade_has_not_happened(tmp_path: Path) -> None:
    """The process dies after the tables are made, and before the commit."""
    code = (
        "import os, signal, sys\nfrom alembic import op\nfrom gateway.control.store import open_store\n"
        "op.create_index, make = lambda *a: os.kill(os.getpid(), signal.SIGKILL), op.create_index\n"
        "open_store(sys.argv[1])\n"
    )
    path = str(tmp_path / "store.sqlite")
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()
    open_store(path).reading.dispose()


def test_several_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    code = "import sys\nfrom gateway.control.store import open_store\nopen_store(sys.argv[1])"
    path = str(tmp_path / "store.sqlite")
    processes = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(3)]
    assert [process.wait(30) for process in processes] == [0, 0, 0]

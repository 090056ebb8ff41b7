"""Copies of the store: made while the gateway runs, looked at before they count, put back while it does not.

SQLite is copied by itself (VACUUM INTO: one moment, without free pages). PostgreSQL by its own pg_dump and pg_restore.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from gateway.control.schema import StoreError
from gateway.control.store import open_store

_MAGIC = b"PGDMP"  # how a dump of pg_dump's own format begins


def back_up(location: str, file: Path) -> None:
    """Write a copy of the store to `file`, which must not be there, readable by nobody else. Raises StoreError."""
    if file.exists():
        raise StoreError(f"{file} is there already")
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".backup-")  # mkstemp makes it 0600
    os.close(handle)
    try:
        if "://" in location:
            _dump(location, name)
        else:
            _copy(location, name)
        os.replace(name, file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def restore(location: str, file: Path) -> None:
    """Put what `back_up` wrote in the place of the store: what came later is gone. No gateway may run with it.

    Raises StoreError where `file` is no such copy; then nothing is changed.
    """
    with file.open("rb") as copy:
        is_dump = copy.read(len(_MAGIC)) == _MAGIC
    if is_dump != ("://" in location):
        kind = "PostgreSQL" if is_dump else "SQLite"
        raise StoreError(f"{file} is a copy of a {kind} store, `state.database` is another")
    if is_dump:
        _run_postgres("pg_restore", location, "--clean", "--if-exists", "--single-transaction", "--no-owner", str(file))
    else:
        _put_back(location, file)


def check_file(path: str) -> None:
    """Raises StoreError unless the SQLite file at `path` is a store, and whole."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
            connection.execute("SELECT version_num FROM alembic_version")
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} is no store: {error}") from None
    if found != "ok":
        raise StoreError(f"{path} is damaged: {found}")


def _copy(location: str, name: str) -> None:
    os.unlink(name)  # VACUUM wants to make it, and gives it the mode of the mask
    mask = os.umask(0o077)
    try:
        with contextlib.closing(sqlite3.connect(f"file:{location}?mode=ro", uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (name,))
    except sqlite3.Error as error:
        raise StoreError(f"{location} cannot be copied: {error}") from None
    finally:
        os.umask(mask)
    check_file(name)


def _put_back(location: str, file: Path) -> None:
    """A copy is brought to this version's schema before it takes the place."""
    handle, name = tempfile.mkstemp(dir=os.path.dirname(location), prefix=".restore-")
    os.close(handle)
    try:
        shutil.copyfile(file, name)
        check_file(name)
        open_store(name).close()
        with contextlib.closing(sqlite3.connect(name)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
        _empty_log(location)
        os.replace(name, location)
    finally:
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name + ending)


def _empty_log(location: str) -> None:
    """What the old file's log still holds must not be taken for the new one's."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(location)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(location + ending)


def _dump(location: str, name: str) -> None:
    _run_postgres("pg_dump", location, "--format", "custom", "--no-owner", "--file", name)


def _run_postgres(program: str, location: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise StoreError(f"{program} is not installed here (Debian: postgresql-client)")
    with _without_password(location) as url:
        done = subprocess.run([found, "--dbname", url, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoreError(f"{program} failed: {done.stderr.strip()}")


@contextlib.contextmanager
def _without_password(location: str) -> Iterator[str]:
    """The URL for a command line, which everybody can read: the password comes from a file meanwhile."""
    url = make_url(location).set(drivername="postgresql")
    if url.password is None:
        yield url.render_as_string(hide_password=False)
        return
    with tempfile.NamedTemporaryFile("w", prefix="tollkeeper-") as file:  # 0600
        password = str(url.password).replace("\\", "\\\\").replace(":", "\\:")
        file.write(f"*:*:*:*:{password}\n")
        file.flush()
        plain = url.set(password=None).update_query_dict({"passfile": file.name})
        yield plain.render_as_string(hide_password=False)

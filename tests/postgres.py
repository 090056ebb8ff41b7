"""Real PostgreSQL servers for tests: a cluster in a temporary folder, on a socket there, run by a user without rights.

    with running_postgres() as server:
        server.make_database(), server.send(signal.SIGSTOP), server.stop(), server.start()

Nothing of it is synced to the disk: what is tested is not PostgreSQL.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_USER = "tollkeeper"  # of the database
_START = 60.0  # seconds


@cache
def find_binaries() -> Path | None:
    """The folder with `initdb` and `postgres`, the newest where there are several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


def need_postgres() -> None:
    """Skip the test where this machine has no PostgreSQL, or none of its drivers."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")


class Server:
    """One cluster. PostgreSQL refuses to be run by root: then it is run by `nobody`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._databases = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--pgdata", str(folder / "data"), "--username", _USER, "--auth", "trust", "--no-sync",
                  "--encoding", "UTF8", "--locale", "C")  # fmt: skip
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}@/{database}?host={self._folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self._folder), "fsync": "off",
                    "full_page_writes": "off", "max_connections": "100", "dynamic_shared_memory_type": "mmap",
                    "shared_buffers": "64MB", "max_wal_size": "2GB"}  # fmt: skip
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        with open(self._folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self._binary("postgres"), "-D", str(self._folder / "data"), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, **self._identity,
            )  # fmt: skip
        deadline = time.monotonic() + _START
        while not self._answers():
            assert time.monotonic() < deadline and self.process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.02)

    def make_database(self, template: str = "template1") -> str:
        """A new database, and its URL."""
        self._databases += 1
        name = f"test{self._databases}"
        self.query(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def query(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def send(self, number: int) -> None:
        """To all its processes."""
        assert self.process is not None
        for pid in [self.process.pid, *self._children()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT: at once and cleanly; SIGQUIT: as after a crash."""
        if self.process is not None:
            self.send(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def _children(self) -> list[int]:
        import psutil

        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]
        return []

    def _answers(self) -> bool:
        import psycopg

        try:
            self.query("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _binary(self, name: str) -> str:
        folder = find_binaries()
        assert folder is not None
        return str(folder / name)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run([self._binary(name), *arguments], cwd=self._folder, capture_output=True, check=False,
                              **self._identity)  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()


@contextlib.contextmanager
def running_postgres() -> Iterator[Server]:
    """A server for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="tollkeeper-pg-") as folder:
        server = Server(Path(folder))
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)

"""An ingesting process is killed at random moments while workers write, end and die: nothing is lost or doubled."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from gateway.control.ingest import Ingest
from gateway.control.store import open_store, upgrade_store
from gateway.control.tables import open_requests, requests, writer_usage
from gateway.journal import Journal
from tests.gateway.control.records import NOON, closed, opened
from tests.postgres import Server


class Workers:
    """Journals of two workers at a time, and what must be in the store at the end."""

    def __init__(self, directory: Path, dice: random.Random) -> None:
        self.expected: dict[str, str] = {}
        self._directory = directory
        self._dice = dice
        self._started = 0
        self._journals = [self._start(), self._start()]

    def _start(self) -> Journal:
        self._started += 1
        return Journal(self._directory, f"w{self._started}", segment_bytes=20_000)

    def work(self, count: int) -> None:
        for _ in range(count):
            request = opened(f"{len(self.expected):032x}", reserved=1)
            journal = self._dice.choice(self._journals)
            if self._dice.random() < 0.5:
                journal.write(request)
            elif self._dice.random() < 0.1:
                journal.write(request)
                self.expected[request.id] = "worker_lost"
                continue
            journal.write(closed(request))
            self.expected[request.id] = "complete"

    def die(self) -> None:
        self._journals.pop(0).close()
        self._journals.append(self._start())

    def end(self) -> None:
        for journal in self._journals:
            journal.close()


def start_ingest(path: str, directory: Path) -> int:
    """A child that ingests until it is killed."""
    process = os.fork()
    if process:
        return process
    try:
        ingest = Ingest(open_store(path), directory, lambda: NOON)
        while True:
            if not ingest.step():
                time.sleep(0.001)
    finally:
        os._exit(1)


def kill_rounds(path: str, directory: Path, rounds: int, seed: int) -> None:
    """`path` of the store, a file or a URL; `directory` of the journals."""
    dice = random.Random(seed)
    workers = Workers(directory, dice)
    upgrade_store(path)
    for _ in range(rounds):
        process = start_ingest(path, directory)
        deadline = time.monotonic() + dice.uniform(0.0, 0.06)
        while time.monotonic() < deadline:
            workers.work(20)
        if dice.random() < 0.3:
            workers.die()
        os.kill(process, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    workers.end()
    check(path, directory, workers.expected)


def check(path: str, directory: Path, expected: dict[str, str]) -> None:
    store = open_store(path)
    ingest = Ingest(store, directory, lambda: NOON)
    while ingest.step():
        pass
    with store.reading.connect() as connection:
        if not store.is_shared:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        found = {row.id: row.outcome for row in connection.execute(select(requests.c.id, requests.c.outcome))}
        assert found == expected
        assert connection.scalar(select(func.sum(writer_usage.c.units))) == len(expected)
        assert connection.execute(select(open_requests)).all() == []
    ingest.close()
    store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store can be made."""
    if request.param == "sqlite":
        return str(tmp_path / "store.sqlite")
    postgres: Server = request.getfixturevalue("postgres")
    return postgres.make_database()


def test_f42_a_killed_ingest_loses_and_doubles_nothing(place: str, tmp_path: Path) -> None:
    kill_rounds(place, tmp_path / "journal", rounds=15, seed=1)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(10))
def test_f42_many_kills(place: str, tmp_path: Path, seed: int) -> None:
    kill_rounds(place, tmp_path / "journal", rounds=100, seed=seed)

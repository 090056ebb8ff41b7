"""The store fails in every way there is: what was written down is stored once, and nobody has to help."""

import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from gateway.control import ingest as module
from gateway.control.ingest import Ingest
from gateway.control.settlement import Settlement
from gateway.control.store import Store, open_store, upgrade_store
from gateway.control.tables import open_requests, requests, writer_usage
from gateway.journal import Journal
from tests.gateway.control.records import NOON, closed, opened
from tests.postgres import Server, need_postgres, running_postgres

WRITER = "0a1b2c3d-w1"


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """One that may be broken."""
    need_postgres()
    with running_postgres() as server:
        yield server


def write(journals: Path, count: int, segment_bytes: int = 2000) -> None:
    """Requests of one writer that is dead then; each fifth was open."""
    journal = Journal(journals, WRITER, segment_bytes=segment_bytes)
    for number in range(count):
        request = opened(str(number), reserved=1)
        journal.write(request)
        if number % 5:
            journal.write(closed(request))
    journal.close()


def check(store: Store, count: int) -> None:
    with store.reading.connect() as connection:
        found = {row.id: row.outcome for row in connection.execute(select(requests.c.id, requests.c.outcome))}
        assert found == {str(number): "complete" if number % 5 else "worker_lost" for number in range(count)}
        assert connection.scalar(select(func.sum(writer_usage.c.units))) == count
        assert connection.execute(select(open_requests)).all() == []


def take_all(ingest: Ingest) -> None:
    while ingest.step():
        pass


def take_in_the_end(ingest: Ingest, patience: float = 60.0) -> int:
    """As the follower does: try again whatever happens; how often it failed."""
    deadline, failures = time.monotonic() + patience, 0
    while True:
        try:
            take_all(ingest)
            return failures
        except (SQLAlchemyError, OSError):
            failures += 1
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_f41_a_locked_sqlite_is_taken_up_again(sqlite_store: Store, journals: Path, tmp_path: Path) -> None:
    ingest = Ingest(sqlite_store, journals, lambda: NOON)
    write(journals, 10)
    with sqlite_store.reading.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            ingest.step()
        other.execute("ROLLBACK")
    take_all(ingest)
    check(sqlite_store, 10)
    ingest.close()


def test_f40_a_full_disk_loses_nothing(sqlite_store: Store, journals: Path) -> None:
    ingest = Ingest(sqlite_store, journals, lambda: NOON)
    write(journals, 500, segment_bytes=1_000_000)
    with sqlite_store.reading.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OperationalError, match="full"):
        take_all(ingest)
    with sqlite_store.reading.connect() as connection:
        assert connection.execute(select(requests)).all() == []
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    take_all(ingest)
    check(sqlite_store, 500)
    with sqlite_store.reading.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    ingest.close()


class Fault:
    """The n-th thing that can fail does."""

    def __init__(self, nth: int) -> None:
        self.left = nth

    def __call__(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise OperationalError("a fault", None, Exception("injected"))

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            self()
            return act(*arguments, **named)

        return run


def sweep_once(store: Store, journals: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store everything, settle and forget the writer, the n-th step failing on the way."""
    for name in ("before_cursor_execute", "commit", "begin"):
        event.listen(store.reading, name, fault)
    with monkeypatch.context() as patches:
        patches.setattr(module, "_read", fault.around(module._read))
        patches.setattr(module, "checkpoint", fault.around(module.checkpoint))
        patches.setattr(Path, "unlink", fault.around(Path.unlink))
        failures = 0
        ingest = None
        while failures < 3:
            try:
                ingest = ingest or Ingest(store, journals, lambda: NOON)
                take_all(ingest)
                for writer in ingest.sealed():
                    Settlement(store, lambda: NOON).settle(writer)
                ingest.reload()
                take_all(ingest)
                break
            except (SQLAlchemyError, OSError):
                failures += 1
        assert ingest is not None and failures < 3
        ingest.close()
    for name in ("before_cursor_execute", "commit", "begin"):
        event.remove(store.reading, name, fault)


def test_f43_whatever_step_fails_each_request_is_stored_once(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired = 0
    for nth in range(1, 2000):
        folder = tmp_path / str(nth)
        (folder / "journal").mkdir(parents=True)
        write(folder / "journal", 12)
        store = open_store(str(shutil.copy(model, folder)))
        fault = Fault(nth)
        sweep_once(store, folder / "journal", fault, monkeypatch)
        check(store, 12)
        assert list((folder / "journal").iterdir()) == []
        store.close()
        if fault.left > 0:
            break
        fired = nth
    assert fired > 50, "every statement, commit and file of several segments was a place to fail"


def test_f41_a_postgres_that_went_and_came_back(own_postgres: Server, journals: Path) -> None:
    upgrade_store(url := own_postgres.make_database())
    store = open_store(url)
    ingest = Ingest(store, journals, lambda: NOON)
    write(journals, 200)
    ingest.step()
    own_postgres.stop(signal.SIGQUIT)
    with pytest.raises(OperationalError):
        ingest.step()
    own_postgres.start()
    take_in_the_end(ingest)
    check(store, 200)
    ingest.close()
    store.close()


def test_f41_a_postgres_that_stands_still(own_postgres: Server, journals: Path) -> None:
    """The thread that stores waits, and goes on when it can."""
    upgrade_store(url := own_postgres.make_database())
    store = open_store(url)
    ingest = Ingest(store, journals, lambda: NOON)
    write(journals, 200)
    own_postgres.send(signal.SIGSTOP)
    thread = Thread(target=take_in_the_end, args=(ingest,))
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    own_postgres.send(signal.SIGCONT)
    thread.join(60)
    check(store, 200)
    ingest.close()
    store.close()


def test_what_a_killed_predecessor_sent_may_still_be_committed(postgres_store: Store, journals: Path) -> None:
    """PostgreSQL goes on with what it was sent: a successor that read the position before that must not add to it."""
    write(journals, 10, segment_bytes=1_000_000)
    slow = Ingest(postgres_store, journals, lambda: NOON)
    slow.close()  # it was killed: nobody holds the lock, but its transaction is under way
    successor = Ingest(postgres_store, journals, lambda: NOON)
    slow.step()
    with pytest.raises(module.Overtaken):
        successor.step()
    take_all(successor)
    check(postgres_store, 10)
    successor.close()


def test_a_character_that_postgres_has_not(any_store: Store, journals: Path) -> None:
    journal = Journal(journals, WRITER)
    journal.write(closed(opened("1", model_asked="qwen\0")))
    journal.close()
    ingest = Ingest(any_store, journals, lambda: NOON)
    take_all(ingest)
    with any_store.reading.connect() as connection:
        assert connection.scalar(select(requests.c.model_asked)) == "qwen\ufffd"
    ingest.close()


def test_a_number_that_no_column_holds(any_store: Store, journals: Path) -> None:
    """It would be tried for ever, and everything behind it would wait."""
    journal = Journal(journals, WRITER)
    for number in range(7):
        journal.write(closed(opened(str(number)), cost_nano=2**63 - (number != 4)))
    journal.close()
    ingest = Ingest(any_store, journals, lambda: NOON)
    take_all(ingest)
    with any_store.reading.connect() as connection:
        assert sorted(connection.scalars(select(requests.c.id))) == ["0", "1", "2", "3", "5", "6"]
    assert ingest.lost == 1
    assert Settlement(any_store, lambda: NOON).totals(WRITER) is None, "the ledger's figure is the better"
    ingest.close()


def test_replicas_keep_to_their_own_journals(postgres_store: Store, tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    for number, folder in enumerate(folders):
        journal = Journal(folder, f"{number}-w1")
        journal.write(closed(opened(str(number))))
        journal.close()
    one, two = (Ingest(postgres_store, folder, lambda: NOON, instance=folder.name) for folder in folders)
    take_all(one)
    take_all(two)
    assert (one.sealed(), two.sealed()) == (["0-w1"], ["1-w1"])
    one.reload()
    assert one.sealed() == ["0-w1"]
    settlement = Settlement(postgres_store, lambda: NOON, "one")
    settlement.settle("0-w1")
    settlement.settle("1-w1")
    assert settlement.settled() == {("month:acme", "2026-11"): 1000}
    one.close()
    two.close()

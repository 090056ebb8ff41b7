from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from gateway.control.batch import Batch
from gateway.control.retention import AGE, SIZE, Retention, stored_bytes, used_bytes, vacuum
from gateway.control.rows import write_batch
from gateway.control.store import Store
from gateway.control.tables import contents, feedback, requests, rollup_queue
from gateway.settings.site import State
from gateway.settings.units import Bytes, Seconds
from tests.gateway.control.records import NOON, closed, opened, opinion

HOUR = 3600 * 1_000_000
DAY = 24 * HOUR


def fill(store: Store, count: int, begin: int, step: int, said: str = "") -> None:
    """So many requests, the first at `begin`, and what was said in them."""
    batch = Batch()
    for number in range(count):
        at = begin + number * step
        request = opened(f"{at // 1000:012x}{number:020x}")
        request.started = at
        batch.finished.append(closed(request))
        if said:
            batch.contents.append((request.id, said, said))
    with store.writing.begin() as connection:
        write_batch(connection, batch, "w1")
        rows = [opinion(closed.opened.id, closed.opened.id) for closed in batch.finished]
        connection.execute(insert(feedback), rows)


def prune(retention: Retention) -> None:
    while retention.step():
        pass


def counts(store: Store) -> tuple[int, int, int]:
    with store.reading.connect() as connection:
        return tuple(  # type: ignore[return-value]
            connection.scalar(select(func.count()).select_from(table)) for table in (requests, contents, feedback)
        )


def test_the_old_go_and_what_hangs_on_them(any_store: Store) -> None:
    fill(any_store, 2500, NOON - 100 * DAY, HOUR // 10, said="text")
    fill(any_store, 10, NOON - DAY, HOUR, said="text")
    retention = Retention(any_store, State(retention=Seconds(30 * 86_400), retention_contents=Seconds(0)), lambda: NOON)
    prune(retention)
    assert counts(any_store) == (10, 10, 10)
    assert retention.removed == {AGE: 2500, SIZE: 0}
    with any_store.reading.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(rollup_queue)), "sums stay"


def test_feedback_goes_that_no_request_came_for(any_store: Store) -> None:
    fill(any_store, 1, NOON - DAY, HOUR)
    rows = [
        opinion("fresh", "open", created=NOON - DAY),
        opinion("orphan", "lost", created=NOON - 31 * DAY),
        opinion("late", "gone", created=NOON - 31 * DAY, of_started=NOON - 32 * DAY),
    ]
    with any_store.writing.begin() as connection:
        for row in rows:
            connection.execute(insert(feedback), row)
    prune(Retention(any_store, State(retention=Seconds(30 * 86_400), retention_contents=Seconds(0)), lambda: NOON))
    with any_store.reading.connect() as connection:
        assert set(connection.scalars(select(feedback.c.request))) - {"open"} == set(
            connection.scalars(select(requests.c.id))
        )
    assert counts(any_store) == (1, 0, 2)


def test_what_was_said_goes_sooner(any_store: Store) -> None:
    fill(any_store, 20, NOON - 10 * DAY, DAY, said="text")
    prune(Retention(any_store, State(retention=Seconds(0), retention_contents=Seconds(5.5 * 86_400)), lambda: NOON))
    with any_store.reading.connect() as connection:
        left = connection.scalars(select(contents.c.id)).all()
    assert counts(any_store) == (20, 15, 20)
    assert min(left) >= f"{(NOON - 5 * DAY) // 1000:012x}"


def test_beyond_its_size_the_oldest_go(store: Store) -> None:
    fill(store, 8000, NOON - 8 * DAY, HOUR // 60, said="x" * 500)
    with store.reading.connect() as connection:
        before = used_bytes(connection)
    limits = State(retention=Seconds(0), retention_contents=Seconds(0), size=Bytes(before // 2))
    retention = Retention(store, limits, lambda: NOON)
    prune(retention)
    with store.reading.connect() as connection:
        assert before // 4 < used_bytes(connection) <= before // 2
        first = connection.scalar(select(func.min(requests.c.started)))
    assert retention.removed[SIZE] == 8000 - counts(store)[0] > 0
    assert first == NOON - 8 * DAY + retention.removed[SIZE] * (HOUR // 60), "none but the oldest"


def test_room_is_given_back_to_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control.retention._SPARE", 100)
    fill(store, 4000, NOON - 8 * DAY, HOUR // 60, said="x" * 500)
    with store.reading.connect() as connection:
        full = stored_bytes(connection)
    retention = Retention(store, State(retention=Seconds(86_400)), lambda: NOON)
    prune(retention)
    while retention.give_back():
        pass
    with store.reading.connect() as connection:
        assert stored_bytes(connection) < full // 3
    assert counts(store)[0] == 0


def test_a_file_is_written_anew(store: Store, tmp_path: Path) -> None:
    fill(store, 2000, NOON - 8 * DAY, HOUR // 60, said="x" * 500)
    prune(Retention(store, State(retention=Seconds(86_400)), lambda: NOON))
    vacuum(store.writing)
    with store.reading.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA freelist_count").scalar() == 0
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_one_of_several_replicas_prunes(postgres_store: Store) -> None:
    """Who finds another at it leaves it to him."""
    fill(postgres_store, 5, NOON - 100 * DAY, HOUR)
    retention = Retention(postgres_store, State(), lambda: NOON)
    with postgres_store.writing.begin() as other:
        other.exec_driver_sql("SELECT pg_advisory_xact_lock(1886549349)")
        assert not retention.step()
        assert counts(postgres_store)[0] == 5
    prune(retention)
    assert counts(postgres_store)[0] == 0
    with postgres_store.reading.connect() as connection:
        assert stored_bytes(connection) > 1_000_000

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import OperationalError

from gateway.control.analytics import roller as module
from gateway.control.analytics.fold import make_due
from gateway.control.analytics.roller import Roller, rebuild_all
from gateway.control.store import Store
from gateway.control.tables import feedback, rollups
from gateway.tasks import spawn
from tests.gateway.control.analytics.month import DAY, make_requests, write
from tests.gateway.control.records import NOON, opinion


@asynccontextmanager
async def rolling(store: Store) -> AsyncIterator[None]:
    roller = Roller(store, lambda: NOON)
    task = spawn(roller.run(), "roll-ups")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.to_thread(roller.close)


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def find_about(store: Store) -> int:
    with store.reading.connect() as connection:
        return int(connection.scalar(select(feedback.c.of_started)) or 0)


def count(store: Store, grain: str = "day") -> int:
    wanted = select(func.sum(rollups.c.requests)).where(rollups.c.grain == grain, rollups.c.is_private)
    with store.reading.connect() as connection:
        return int(connection.scalar(wanted) or 0)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    monkeypatch.setattr(module, "_SHARE", 0)


async def test_what_is_stored_is_soon_rolled_up(store: Store) -> None:
    async with rolling(store):
        write(store, make_requests(120))
        await until(lambda: count(store) == 120)
        write(store, make_requests(30, prefix="more"))
        await until(lambda: count(store) == 150)


async def test_feedback_is_looked_up_once_its_request_is_stored(store: Store) -> None:
    (made,) = make_requests(1)
    async with rolling(store):
        with store.writing.begin() as connection:
            connection.execute(insert(feedback), opinion("f", made.opened.id))
        write(store, [made])
        await until(lambda: find_about(store) == made.opened.started)


async def test_what_is_due_is_rebuilt_and_old_hours_are_forgotten(store: Store) -> None:
    made = make_requests(200, days=30)
    write(store, made)
    with store.writing.begin() as connection:
        make_due(connection)
    async with rolling(store):
        await until(lambda: count(store) == 200)
    with store.writing.begin() as connection:
        connection.execute(delete(rollups).where(rollups.c.start > NOON - 10 * DAY))
        make_due(connection)
    recent = [it for it in made if it.opened.started >= NOON - 15 * DAY]
    async with rolling(store):
        await until(lambda: count(store) == 200 and len(recent) <= count(store, "hour") < 200)


async def test_a_store_that_fails_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fold, failures = module.fold, [OperationalError("", None, Exception("locked"))] * 3

    def fail_at_first(connection: object) -> bool:
        if failures:
            raise failures.pop()
        return fold(connection)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "fold", fail_at_first)
    write(store, make_requests(10))
    async with rolling(store):
        await until(lambda: count(store) == 10)


def test_all_can_be_rolled_up_anew(store: Store) -> None:
    write(store, make_requests(200))
    assert rebuild_all(store) in (3, 4)
    assert count(store) == 200
    with store.writing.begin() as connection:
        connection.execute(delete(rollups))
    rebuild_all(store)
    assert count(store) == count(store, "hour") == 200

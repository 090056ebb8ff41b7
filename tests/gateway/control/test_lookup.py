"""Two replicas' look-ups in one PostgreSQL: what one changes, the other's workers hear of."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.control.consumer import Consumer
from gateway.control.directory import Directory, NewKey
from gateway.control.lookup import Lookups
from gateway.control.store import Store, open_store, upgrade_store
from gateway.control.tables import directory_changes
from gateway.link import Changed, Failed, Found
from gateway.settings.key import digest
from gateway.settings.schema import Config, Tier
from gateway.tasks import spawn
from tests.gateway.control.records import NOON
from tests.postgres import Server, need_postgres, running_postgres

CONFIG = Config(tiers={"free": Tier()})


class Replica:
    """Its directory, its look-ups, and what its workers were told."""

    def __init__(self, store: Store, clock: Callable[[], int] = lambda: NOON) -> None:
        self.directory = Directory(store, CONFIG, clock)
        self.told: list[bytes] = []
        self.lookups = Lookups(store, self.directory, self._hear)

    def _hear(self, changed: Changed) -> None:
        self.told.extend(changed.digests)

    async def find(self, hashed: bytes) -> Found | Failed:
        answer = self.lookups.answer(hashed)
        return await answer if isinstance(answer, Awaitable) else answer

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        task = spawn(self.lookups.follow(), "follow")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.lookups.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def test_what_one_replica_changes_the_other_tells(postgres_store: Store) -> None:
    one, two = Replica(postgres_store), Replica(postgres_store)
    async with two.following():
        made = one.directory.new_key(NewKey("acme", "free")).data
        hashed = digest(made["key"])
        await until(lambda: two.told == [hashed])
        found = await two.find(hashed)
        assert isinstance(found, Found) and found.credential is not None
        two.told.clear()
        one.directory.revoke(made["id"])
        await until(lambda: two.told == [hashed])
        assert await two.find(hashed) == Found(None)
        two.told.clear()
        one.directory.consumers.set(Consumer("acme", "free", project="other"))
        await until(lambda: two.told == [hashed])
        one.directory.consumers.remove("acme")
        await until(lambda: two.told == [hashed] * 2)


async def test_what_happened_while_nobody_followed_is_told_at_the_start(postgres_store: Store) -> None:
    made = Replica(postgres_store).directory.new_key(NewKey("acme", "free"))
    late = Replica(postgres_store)
    async with late.following():
        await until(lambda: late.told == list(made.digests))


async def test_an_answer_is_not_older_than_what_was_told(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is revoked between the read and the answer."""
    replica = Replica(postgres_store)
    made = replica.directory.new_key(NewKey("acme", "free")).data
    hashed, times = digest(made["key"]), 0
    loop, look_up = asyncio.get_running_loop(), replica.directory.look_up

    def read_and_revoke(hashed: bytes) -> Any:
        nonlocal times
        found, times = look_up(hashed), times + 1
        if times == 1:
            digests = replica.directory.revoke(made["id"]).digests
            asyncio.run_coroutine_threadsafe(tell(digests), loop).result(20)
        return found

    async def tell(digests: tuple[bytes, ...]) -> None:
        replica.lookups.changed(digests)

    monkeypatch.setattr(replica.directory, "look_up", read_and_revoke)
    assert await replica.find(hashed) == Found(None)
    assert times == 2
    replica.lookups.close()


def test_changes_are_remembered_for_a_week(postgres_store: Store) -> None:
    now = NOON
    directory = Replica(postgres_store, lambda: now).directory
    for _ in range(3):
        directory.new_key(NewKey("acme", "free"))
        now += 5 * 86_400 * 1_000_000
    with postgres_store.reading.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(directory_changes)) == 2


def test_a_store_of_one_leaves_no_word(sqlite_store: Store) -> None:
    Replica(sqlite_store).directory.new_key(NewKey("acme", "free"))
    with sqlite_store.reading.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(directory_changes)) == 0


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    need_postgres()
    with running_postgres() as server:
        yield server


async def test_f41_a_postgres_that_stands_still_is_not_waited_for(own_postgres: Server) -> None:
    upgrade_store(url := own_postgres.make_database())
    store = open_store(url)
    replica = Replica(store)
    made = replica.directory.new_key(NewKey("acme", "free")).data
    hashed = digest(made["key"])
    assert isinstance(await replica.find(hashed), Found)
    own_postgres.send(signal.SIGSTOP)
    began = time.monotonic()
    answer = await replica.find(hashed)
    assert isinstance(answer, Failed) and answer.number == 1602
    assert time.monotonic() - began < 20
    own_postgres.send(signal.SIGCONT)
    async with asyncio.timeout(20):
        while not isinstance(await replica.find(hashed), Found):
            pass
    replica.lookups.close()
    store.close()

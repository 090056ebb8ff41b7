"""An instance's part of the months in Redis: exact after any death, repeated at will, told again after a loss."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.control.fleet import Fleet
from gateway.control.settlement import Settlement
from gateway.control.store import Store
from gateway.control.tables import writer_usage, writers
from gateway.ledger.script import index_key, month_key
from gateway.link import Fleet as FleetSize
from gateway.link import Recount
from gateway.settings.state import read_instance
from tests.redis import Server, running_cluster, running_redis

MONTH = ("{consumer:acme}:month", "2026-11")
KEY = month_key(*MONTH)


class Told:
    """The supervisor's end of the link."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def tell(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def replicas(self) -> int:
        return max([m.replicas for m in self.messages[-1:] if isinstance(m, FleetSize)], default=0)


@pytest.fixture
def server() -> Iterator[Server]:
    with running_redis() as server:
        yield server


@asynccontextmanager
async def joined(url: str, store: Store, name: str = "here") -> AsyncIterator[tuple[Fleet, Told]]:
    told = Told()

    async def call(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    fleet = Fleet(url, name, told, Settlement(store, lambda: 0), call)  # type: ignore[arg-type]
    task = asyncio.get_running_loop().create_task(fleet.run())
    try:
        await until(lambda: Recount() in told.messages)
        yield fleet, told
    finally:
        task.cancel()
        await fleet.close()
        await asyncio.sleep(0.02)


async def until(check: Callable[[], Any], within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, f"not within {within:g} s"
        await asyncio.sleep(0.01)


def charge(server: Server, writer: str, units: int) -> None:
    """What a worker's asks leave behind."""
    server.call("HINCRBY", KEY, "used", units)
    server.call("HINCRBY", KEY, f"w:{writer}", units)
    server.call("SADD", index_key(writer), f"{MONTH[1]} {MONTH[0]}")


def counter(server: Server) -> dict[str, int]:
    fields = server.call("HGETALL", KEY)
    return {key.decode(): int(value) for key, value in zip(fields[::2], fields[1::2], strict=True)}


def write_down(store: Store, writer: str, units: int, state: str = "settled", lost: int = 0) -> None:
    with store.writing.begin() as connection:
        values = {"writer": writer, "segment": 0, "offset": 0, "lost": lost, "state": state, "changed": 0}
        connection.execute(writers.insert(), values)
        row = {"writer": writer, "quota_key": MONTH[0], "period": MONTH[1], "units": units}
        connection.execute(writer_usage.insert(), row)


async def test_what_a_dead_writer_spent_takes_the_place_of_what_it_was_charged(server: Server, store: Store) -> None:
    async with joined(server.url, store) as (fleet, _):
        charge(server, "dead", 9000)
        charge(server, "alive", 500)
        for _ in range(3):  # control may die before it notes that this was done
            assert await fleet.settle("dead", ((*MONTH, 7000),))
            assert counter(server) == {"used": 7500, "w:alive": 500, "s:here": 7000}
        write_down(store, "dead", 7000)
        charge(server, "second", 100)
        assert await fleet.settle("second", ())
        assert counter(server) == {"used": 7500, "w:alive": 500, "s:here": 7000}
        assert server.call("EXISTS", index_key("second")) == 0


async def test_charges_that_redis_never_heard_of_are_settled_too(server: Server, store: Store) -> None:
    async with joined(server.url, store) as (fleet, _):
        assert await fleet.settle("dead", ((*MONTH, 7000),))
        assert counter(server) == {"used": 7000, "s:here": 7000}


async def test_without_redis_nobody_is_settled(server: Server, store: Store) -> None:
    async with joined(server.url, store) as (fleet, _):
        charge(server, "dead", 9000)
        server.kill()
        assert not await fleet.settle("dead", ((*MONTH, 7000),))


async def test_a_memory_that_was_lost_is_told_again_and_workers_are_asked_to(server: Server, store: Store) -> None:
    write_down(store, "old", 7000)
    write_down(store, "damaged", 9000, lost=1)
    async with joined(server.url, store) as (_, told):
        assert counter(server) == {"used": 7000, "s:here": 7000}
        told.messages.clear()
        server.call("FLUSHALL")
        await until(lambda: Recount() in told.messages, 3.0)
        assert counter(server) == {"used": 7000, "s:here": 7000}
        told.messages.clear()
        server.kill()
        server.start()
        await until(lambda: Recount() in told.messages, 4.0)
        assert counter(server) == {"used": 7000, "s:here": 7000}
        told.messages.clear()
        await asyncio.sleep(2.2)
        assert Recount() not in told.messages, "nothing was lost"


async def test_replicas_know_how_many_they_are(server: Server, store: Store) -> None:
    async with joined(server.url, store, "one") as (_, one):
        await until(lambda: one.replicas == 1)
        async with joined(server.url, store, "two") as (_, two):
            await until(lambda: one.replicas == 2 and two.replicas == 2)
        await until(lambda: one.replicas == 1)
    assert server.call("ZCARD", "tk:{fleet}") == 0


async def test_on_a_cluster_every_node_is_watched(store: Store) -> None:
    write_down(store, "old", 7000)
    with running_cluster() as servers:
        async with joined(servers[0].url, store) as (fleet, told):
            holder = next(server for server in servers if server.call("KEYS", KEY))
            for server in servers:
                told.messages.clear()
                server.call("FLUSHALL")
                await until(lambda: Recount() in told.messages, 4.0)
            assert counter(holder) == {"used": 7000, "s:here": 7000}
            assert await fleet.settle("dead", ((*MONTH, 500),))
            assert counter(holder)["used"] == 7500


def test_an_instance_keeps_its_name(tmp_path: Path) -> None:
    name = read_instance(str(tmp_path))
    assert len(name) == 16 and read_instance(str(tmp_path)) == name
    assert (tmp_path / "instance").stat().st_mode & 0o777 == 0o600

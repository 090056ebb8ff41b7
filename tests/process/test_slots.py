"""A tier's slots: never more requests at once than it says, over all workers, and none is lost, whoever dies."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.load import Answer, Client, Cut, chat

LIMIT = 3
LONG = chat(stream=True, chunks=600, chunk_delay=0.05)


def narrow() -> Document:
    return config(tiers={"narrow": {"concurrency": LIMIT}})


class Streams:
    """Requests that go on until they are let go; each on a connection of its own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, count: int) -> None:
        """Begin `count` more; each has had its first bytes."""
        for _ in range(count):
            begun = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._read(begun)))
            await asyncio.wait_for(begun.wait(), 5)

    async def close(self) -> None:
        """Let all clients leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._tasks.clear()

    async def _read(self, begun: asyncio.Event) -> None:
        client = Client(self._gateway.address, self._gateway.key("narrow"))
        try:
            async for _ in client.stream(LONG):
                begun.set()
        except Cut:
            pass  # its worker was killed
        finally:
            client.close()


async def ask(gateway: Gateway) -> Answer:
    client = Client(gateway.address, gateway.key("narrow"), fresh=True)
    try:
        return await client.ask(chat())
    finally:
        client.close()


async def free(gateway: Gateway, within: float = 3.0) -> None:
    """All slots are free: so many requests at once all pass."""
    deadline = time.monotonic() + within
    while {answer.status for answer in await asyncio.gather(*(ask(gateway) for _ in range(LIMIT)))} != {200}:
        assert time.monotonic() < deadline, "slots were lost"
        await asyncio.sleep(0.05)


async def test_no_more_at_once_than_there_are_slots() -> None:
    with running_gateway(narrow(), workers=2) as gateway:
        streams = Streams(gateway)
        await streams.open(LIMIT)
        refused = await ask(gateway)
        assert (refused.status, refused.json["error"]["number"]) == (429, 1504)
        assert refused.headers["retry-after"] == "1"
        await streams.close()
        await free(gateway)


async def test_a_crowd_is_served_by_slots_and_loses_none() -> None:
    """Sixty at once, again and again: some pass, and afterwards all slots are there."""
    with running_gateway(narrow(), workers=2) as gateway:
        for _ in range(5):
            answers = await asyncio.gather(*(ask(gateway) for _ in range(60)))
            statuses = [answer.status for answer in answers]
            assert set(statuses) <= {200, 429} and statuses.count(200) >= LIMIT
        await free(gateway)


async def test_slots_of_killed_workers_are_free_at_once() -> None:
    with running_gateway(narrow(), workers=2) as gateway:
        streams = Streams(gateway)
        await streams.open(LIMIT)
        assert (await ask(gateway)).status == 429
        dead = gateway.workers()
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: len(set(gateway.workers()) - set(dead)) == 2, 5.0)
        await streams.close()
        await free(gateway, 2.0)


async def test_a_reload_forgets_no_slot() -> None:
    """Streams of the old generation count for the new one."""
    with running_gateway(narrow(), workers=1) as gateway:
        streams = Streams(gateway)
        await streams.open(LIMIT - 1)
        await asyncio.to_thread(gateway.reload)
        await streams.open(1)
        assert (await ask(gateway)).status == 429
        await streams.close()
        await free(gateway)


async def test_a_clean_stop_leaves_no_slot_in_use(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    with running_gateway(narrow(), workers=1, folder=tmp_path / "gateway") as gateway:
        streams = Streams(gateway)
        await streams.open(LIMIT)
        await streams.close()
    shutil.copy(gateway.state / "ledger.log", tmp_path)
    ledger = EmbeddedLedger.open(tmp_path, Clock())
    assert ledger._book.export(time.time_ns() // 1000).pools == {}
    ledger.close()

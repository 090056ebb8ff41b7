"""Engines that go on for nobody: real processes, busy and at rest."""

import asyncio
import sys
from collections.abc import Callable

import pytest

from gateway.engines.admission import Admission
from gateway.engines.aftermath import Aftermath, outlast
from gateway.engines.lodging import Lodging
from gateway.engines.process import Engine
from gateway.engines.run import Run
from gateway.engines.slots import Slots
from gateway.link import Acquire, Release, Slot
from gateway.settings.terms import Terms
from tests.gateway.engines.conftest import eventually

BUSY = "import time\nend = time.monotonic() + {}\nwhile time.monotonic() < end: pass\ntime.sleep(60)"

LEFT = Release("fake", "a", lingers=True)


async def run_of(process: asyncio.subprocess.Process) -> Run:
    made = object.__new__(Run)
    made.pid = process.pid
    made.over = asyncio.get_running_loop().create_future()
    return made


@pytest.mark.parametrize(("busy", "grace", "rests"), [(0.7, 20.0, True), (30, 1.2, False), (0, 20.0, True)])
async def test_until_it_rests_or_patience_is_over(busy: float, grace: float, rests: bool) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY.format(busy))
    clock = asyncio.get_running_loop().time
    started = clock()
    try:
        assert await outlast(await run_of(process), grace) == rests
        assert min(busy, grace) <= clock() - started < 8
    finally:
        process.kill()
        await process.wait()


async def test_a_run_that_ends_is_done() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY.format(30))
    run = await run_of(process)
    waiting = asyncio.ensure_future(outlast(run, 30.0))
    await asyncio.sleep(0.1)
    run.over.set_result("killed")
    process.kill()
    await process.wait()
    assert await asyncio.wait_for(waiting, 1)


async def test_what_nobody_can_tell_takes_all_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.engines.aftermath._read_use", lambda pid: None)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY.format(0))
    try:
        assert not await outlast(await run_of(process), 0.3)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def make(start: Callable[..., Engine]) -> Callable[..., Slots]:
    def make(aftermath: Aftermath, slots: int = 1) -> Slots:
        engine = start()
        made = Slots(Lodging().add(engine, Terms()), Admission(slots, 10), aftermath)
        made.room.is_open = True
        engine.on_end = made.end_run
        return made

    return make


def ask(request: str) -> Acquire:
    return Acquire("fake", request, 10, 10)


async def test_f27_a_slot_is_kept_until_the_engine_rests(make: Callable[..., Slots]) -> None:
    slots = make(Aftermath())
    first = await slots.acquire("w", ask("a"))
    slots.release("w", LEFT)
    assert slots.describe()["in_use"] == slots.describe()["abandoned"] == 1
    second = await slots.acquire("w", ask("b"))
    assert isinstance(first, Slot) and isinstance(second, Slot)
    assert first.load == second.load and 0.4 < second.queued < 5
    slots.release("w", Release("fake", "b", True))
    assert slots.describe()["in_use"] == 0


@pytest.mark.parametrize(
    ("restarts", "slots", "load"), [(False, 1, "fake-1"), (True, 1, "fake-2"), (True, 2, "fake-1")]
)
async def test_f27_when_patience_is_over(
    make: Callable[..., Slots], monkeypatch: pytest.MonkeyPatch, restarts: bool, slots: int, load: str
) -> None:
    """Given on, or started again: but not while others use it."""
    monkeypatch.setattr("gateway.engines.aftermath._RESTING", -1.0)
    made = make(Aftermath(restarts, 0.2), slots)
    for name in "ac"[:slots]:
        assert isinstance(await made.acquire("w", ask(name)), Slot)
    made.release("w", LEFT)
    second = await made.acquire("w", ask("b"))
    assert isinstance(second, Slot) and second.load == load
    assert second.queued + second.loading >= 0.15


async def test_a_worker_that_dies_meanwhile_and_an_engine_that_ends(make: Callable[..., Slots]) -> None:
    slots = make(Aftermath())
    await slots.acquire("w", ask("a"))
    slots.release("w", LEFT)
    slots.release("w", LEFT)  # told twice is told once
    slots.forget_writer("w")
    await eventually(lambda: not slots.describe()["in_use"])
    await slots.acquire("w", ask("b"))
    slots.release("w", Release("fake", "b", lingers=True))
    assert slots.engine.run is not None
    slots.engine.run.kill()
    await eventually(lambda: not slots._lingering)
    assert slots.describe()["in_use"] == 0

"""Engines that answer no probe: those at work are left alone, those that hang are not."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import pytest

from gateway.engines import probe
from gateway.engines.admission import Admission
from gateway.engines.effort import Effort, read_ticks
from gateway.engines.lodging import Lodging
from gateway.engines.process import Engine
from gateway.engines.slots import Slots
from gateway.engines.states import State
from gateway.link import Acquire, Release, Slot
from gateway.settings.terms import Terms
from tests.gateway.engines.conftest import eventually

BURN = "import os, time\nif os.fork() == 0:\n    while True: pass\nprint(flush=True)\ntime.sleep(60)"
Start = Callable[..., Engine]


async def test_the_work_of_a_whole_group_is_seen() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BURN, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    await process.stdout.readline()
    effort = Effort(process.pid, lambda: 0.0)
    try:
        assert not await effort.is_seen(), "nothing to compare with"
        await asyncio.sleep(0.3)
        assert await effort.is_seen()
        os.killpg(process.pid, signal.SIGSTOP)
        await effort.is_seen()
        await asyncio.sleep(0.1)
        assert not await effort.is_seen()
        os.killpg(process.pid, signal.SIGCONT)
        await asyncio.sleep(0.3)
        effort.forget()
        assert not await effort.is_seen(), "what was seen before is forgotten"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_what_is_finished_is_seen_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.engines.effort.read_ticks", lambda group: None)
    progress: list[float | None] = [0.0]
    effort = Effort(1, lambda: progress[0])
    assert not await effort.is_seen()
    assert not await effort.is_seen()
    progress[0] = asyncio.get_running_loop().time()
    assert await effort.is_seen()
    progress[0] = None
    assert not await effort.is_seen(), "idle"
    progress[0] = asyncio.get_running_loop().time() + 9
    assert not await effort.is_seen(), "a first look"


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", fail)
    assert read_ticks(1) is None


async def open_slots(engine: Engine) -> Slots:
    slots = Slots(Lodging().add(engine, Terms()), Admission(1, 10))
    slots.room.is_open = True
    engine.on_end, engine.progressed = slots.end_run, slots.progressed
    await engine.ensure_ready(5)
    return slots


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_PAUSE", 0.2)
    monkeypatch.setattr(probe, "_SUSPECT_PAUSE", 0.2)
    monkeypatch.setattr(probe, "_PATIENCE", 0.3)


async def burn(url: str) -> int:
    """Have the engine use a processor for 3 s, deaf to all others."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"POST /burn HTTP/1.1\r\nhost: a\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("holds", [True, False], ids=["for a request", "for nobody"])
async def test_a_deaf_engine_is_spared_while_it_works_on_requests(start: Start, holds: bool) -> None:
    engine = start()
    slots = await open_slots(engine)
    slot = await slots.acquire("w", Acquire("fake", "a", 10, 10))
    assert isinstance(slot, Slot)
    if not holds:
        slots.release("w", Release("fake", "a", True))
    burning = asyncio.ensure_future(burn(slot.url))
    if holds:
        assert await burning == 200
        assert engine.restarts == {} and engine.run is not None and engine.run.load == slot.load
    else:
        await eventually(lambda: engine.restarts == {"stuck": 1})
        await asyncio.wait([burning])
        burning.exception()


@pytest.mark.usefixtures("quick")
async def test_f21_a_busy_engine_that_hangs_is_noticed_and_cured(start: Start) -> None:
    await hang(start())


@pytest.mark.proof
async def test_f21_in_its_real_time(start: Start) -> None:
    assert await hang(start()) < 3 * 5 + 2


async def hang(engine: Engine) -> float:
    """Stop the process of an engine that works on a request; the seconds until it serves again."""
    clock = asyncio.get_running_loop().time
    slots = await open_slots(engine)
    first = await slots.acquire("w", Acquire("fake", "a", 10, 10))
    assert isinstance(first, Slot) and engine.run is not None
    stopped, run = clock(), engine.run
    os.kill(run.pid, signal.SIGSTOP)
    await eventually(run.over.done, 30)
    second = await slots.acquire("w", Acquire("fake", "b", 10, 10))
    assert isinstance(second, Slot) and second.load != first.load
    assert engine.restarts == {"stuck": 1} and engine.condition.state is State.READY
    assert run.over.result() == "was ended by SIGKILL"
    return clock() - stopped

"""Engines by name: start, reload, replacement, end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from gateway.engines.plan import Planned, plan_engines
from gateway.engines.ration import Ration
from gateway.engines.registry import Engines
from gateway.link import Acquire, Failed, Gone, Release, Slot
from gateway.settings.load import load_text
from tests.gateway.engines.conftest import descendants, eventually, make_backend


def plan(*flags: str, name: str = "fake", slots: int = 1) -> Planned:
    return Planned(make_backend(*flags, name=name), slots, 10)


@pytest.fixture
async def engines(tmp_path: Path, alive: int) -> AsyncIterator[Engines]:
    engines = Engines(str(tmp_path), alive, lambda: None)
    yield engines
    await engines.stop()
    assert not descendants()


async def acquire(engines: Engines, request: str, name: str = "fake") -> Slot:
    answer = await engines.acquire("w", Acquire(name, request, 5, 5))
    assert isinstance(answer, Slot), answer
    return answer


async def test_bounds_are_told(engines: Engines) -> None:
    engines.start({"fake": Planned(make_backend(), 2, 10, ration=Ration(nice=3, memory=10**9, gpus=(0,)))})
    assert engines.describe()["fake"]["ration"] == {"nice": 3, "cpus": (), "memory": 10**9, "gpus": (0,)}


async def test_start_and_describe(engines: Engines) -> None:
    engines.start({"a": plan(name="a"), "b": plan("--exit-at-once=2", name="b")})
    slot = await acquire(engines, "1", "a")
    assert engines.states()["a"] == "ready"
    told = engines.describe()["a"]
    assert slot.url.endswith(f":{told['port']}")
    assert psutil.pid_exists(told["pid"])
    assert (told["in_use"], told["load"], told["restarts"]) == (1, slot.load, {})
    await eventually(lambda: engines.states()["b"] == "backoff")
    assert engines.describe()["b"]["reason"] == "ended with exit code 2"


async def test_reload_leaves_alone_what_did_not_change(engines: Engines) -> None:
    engines.start({"fake": plan(slots=1)})
    before = await acquire(engines, "1")
    engines.reload({"fake": plan(slots=2)}, 5)
    after = await acquire(engines, "2")  # the second slot, of the same process
    assert (after.load, after.url) == (before.load, before.url)


async def test_reload_replaces_what_changed(engines: Engines) -> None:
    engines.start({"fake": plan()})
    old = await acquire(engines, "1")
    engines.reload({"fake": plan("--say=changed")}, 5)
    waiting = asyncio.ensure_future(acquire(engines, "2"))
    await asyncio.sleep(0.1)
    assert not waiting.done()  # the first request is still at work
    assert not await engines.find_end(Gone("fake", old.load))
    engines.release("w", Release("fake", "1", True))
    new = await waiting
    assert new.load != old.load
    assert await engines.find_end(Gone("fake", old.load)) in ("signal 15", "over")
    assert engines.describe()["fake"]["last_words"] == ["changed"]


async def test_replacement_does_not_wait_for_ever(engines: Engines) -> None:
    engines.start({"fake": plan()})
    await acquire(engines, "1")
    engines.reload({"fake": plan("--say=changed")}, 0.1)
    assert (await acquire(engines, "2")).load == "fake-2"


async def test_many_reloads_end_with_the_last(engines: Engines) -> None:
    engines.start({"fake": plan()})
    for number in range(5):
        engines.reload({"fake": plan(f"--say={number}")}, 0)
    await acquire(engines, "1")
    assert engines.describe()["fake"]["last_words"] == ["4"]
    assert len(descendants()) == 2  # one engine and its shim


async def test_removed_backend(engines: Engines) -> None:
    engines.start({"fake": plan()})
    await acquire(engines, "1")
    engines.reload({}, 0)
    await eventually(lambda: not descendants())
    answer = await engines.acquire("w", Acquire("fake", "2", 1, 1))
    assert isinstance(answer, Failed)
    assert answer.number == 1707
    assert engines.states() == {}


async def test_death_that_is_just_happening(engines: Engines) -> None:
    engines.start({"fake": plan()})
    slot = await acquire(engines, "1")
    os.kill(engines.describe()["fake"]["pid"], signal.SIGKILL)
    assert await engines.find_end(Gone("fake", slot.load)) == "signal 9"
    assert await engines.find_end(Gone("fake", "fake-77")) == "over"


async def test_changes_are_told(tmp_path: Path, alive: int) -> None:
    seen: list[str] = []
    engines = Engines(str(tmp_path), alive, lambda: seen.append(engines.states().get("fake", "")))
    engines.start({"fake": plan()})
    await acquire(engines, "1")
    await engines.stop()
    changes = [state for state, before in zip(seen, ["", *seen], strict=False) if state != before]
    assert changes == ["starting", "ready", "stopping", "stopped"]


def test_plan_takes_what_is_started_here() -> None:
    config = load_text("""
        backends:
          demo: {echo: {}, slots: 3, queue: 7}
          fleet: {http: {endpoints: [{url: "http://10.0.0.5:8000"}]}}
        """)
    plans = plan_engines(config)
    assert list(plans) == ["demo"]
    assert (plans["demo"].slots, plans["demo"].queue) == (3, 7)

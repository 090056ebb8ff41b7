"""Rooms of real engines: loaded by whoever comes first, given up by those who stay idle, never lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.engines import states
from gateway.engines.plan import Planned
from gateway.engines.registry import Engines
from gateway.link import Acquire, Done, Failed, Release, Slot
from gateway.settings.terms import Terms
from tests.gateway.engines.conftest import descendants, eventually, make_backend

BUDGET = 10


def lazy(name: str, *flags: str, **terms: Any) -> Planned:
    asked: dict[str, Any] = {
        "memory": 6, "residency": 0.0, "preload": False, "is_pinned": False, "revives": False, **terms,
    }  # fmt: skip
    return Planned(make_backend(*flags, name=name), 2, 1000, Terms(**asked))


def plans(*planned: Planned) -> dict[str, Planned]:
    return {each.backend.name: each for each in planned}


@pytest.fixture
async def engines(tmp_path: Path, alive: int) -> AsyncIterator[Engines]:
    engines = Engines(str(tmp_path), alive, lambda: None)
    yield engines
    await engines.stop()
    assert not descendants()


async def acquire(engines: Engines, name: str, request: str = "1", load: float = 5, **rights: bool) -> Slot | Failed:
    return await engines.acquire("w", Acquire(name, request, 5, load, **rights))


def release(engines: Engines, name: str, request: str = "1") -> None:
    engines.release("w", Release(name, request, True))


async def test_nothing_is_loaded_before_somebody_comes(engines: Engines) -> None:
    engines.start(plans(lazy("a"), lazy("b", preload=True)), BUDGET)
    await eventually(lambda: engines.states()["b"] == "ready")
    assert engines.states()["a"] == "stopped"
    assert isinstance(await acquire(engines, "b"), Slot)


async def test_one_spawn_for_all_who_come(engines: Engines) -> None:
    engines.start(plans(lazy("a", "--start-delay=0.2")), BUDGET)

    async def one(request: str) -> str:
        slot = await acquire(engines, "a", request)
        assert isinstance(slot, Slot), slot
        release(engines, "a", request)
        return slot.load

    assert set(await asyncio.gather(*(one(str(n)) for n in range(500)))) == {"a-1"}


async def test_others_make_room_when_they_are_left(engines: Engines) -> None:
    engines.start(plans(lazy("a"), lazy("b")), BUDGET)
    await acquire(engines, "a")
    refused = await acquire(engines, "b")
    assert isinstance(refused, Failed) and refused.number == 1714
    waiting = asyncio.ensure_future(acquire(engines, "b", may_evict=True))
    await eventually(lambda: engines.describe()["a"]["closed"])
    assert not waiting.done() and engines.states()["b"] == "stopped", "one request still uses it"
    late = asyncio.ensure_future(acquire(engines, "a", "2", may_evict=True))
    release(engines, "a")
    slot = await waiting
    assert isinstance(slot, Slot) and slot.loading > 0
    assert engines.states()["a"] == "stopped"
    release(engines, "b")
    assert isinstance(await late, Slot), "and back, for who came meanwhile"


async def test_a_dead_worker_keeps_nothing_loaded(engines: Engines) -> None:
    engines.start(plans(lazy("a"), lazy("b")), BUDGET)
    await acquire(engines, "a")
    waiting = asyncio.ensure_future(engines.acquire("v", Acquire("b", "1", 5, 5, may_evict=True)))
    await eventually(lambda: engines.describe()["a"]["closed"])
    engines.forget_writer("w")
    assert isinstance(await waiting, Slot)


async def test_who_waits_for_room_may_leave(engines: Engines) -> None:
    engines.start(plans(lazy("a"), lazy("b")), BUDGET)
    await acquire(engines, "a")
    waiting = asyncio.ensure_future(acquire(engines, "b", may_evict=True))
    await eventually(lambda: engines.describe()["a"]["closed"])
    release(engines, "b")
    assert isinstance(await waiting, Failed)
    assert not engines.describe()["a"]["closed"], "nobody wants its place any more"
    assert isinstance(await acquire(engines, "a", "2"), Slot)


async def test_patience_ends_and_says_why(engines: Engines) -> None:
    engines.start(plans(lazy("a", residency=60.0), lazy("b")), BUDGET)
    await acquire(engines, "a")
    release(engines, "a")
    refused = await acquire(engines, "b", load=0.1, may_evict=True)
    assert isinstance(refused, Failed) and refused.number == 1808
    assert "minimum residency" in refused.reason


async def test_a_crash_of_an_engine_in_use_is_mended(engines: Engines) -> None:
    engines.start(plans(lazy("a")), BUDGET)
    slot = await acquire(engines, "a")
    os.kill(engines.describe()["a"]["pid"], signal.SIGKILL)
    await eventually(lambda: engines.states()["a"] not in ("ready", "suspect"))
    again = await acquire(engines, "a", "2")
    assert isinstance(slot, Slot) and isinstance(again, Slot) and again.load == "a-2"


async def test_one_that_fails_gives_its_memory_back(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(states, "RETRY", 0.5)
    engines.start(plans(lazy("a", "--exit-at-once=3"), lazy("b")), BUDGET)
    failed = await acquire(engines, "a")
    assert isinstance(failed, Failed) and failed.number == 1708
    assert not engines.describe()["a"]["resident"]
    at_once = await acquire(engines, "a", "2")
    assert isinstance(at_once, Failed) and at_once.number == 1708
    assert engines.describe()["a"]["restarts"] == {"exit": 3}, "nobody tried"
    assert isinstance(await acquire(engines, "b"), Slot), "there is room"
    release(engines, "b")
    await asyncio.sleep(0.6)
    assert engines.describe()["a"]["restarts"] == {"exit": 3}, "nor does it try by itself"
    assert isinstance(await acquire(engines, "a", "3", may_evict=True), Failed)
    assert engines.describe()["a"]["restarts"] == {"exit": 6}, "the next who wants it does"


@pytest.mark.parametrize("preload", [True, False])
async def test_a_command_tries_at_once_one_that_has_failed(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, preload: bool
) -> None:
    monkeypatch.setattr(states, "FIRST_PAUSE", 0.01)
    mended = tmp_path / "mended"
    engines.start(plans(lazy("a", f"--needs={mended}", preload=preload, revives=preload)), BUDGET)
    failed = await acquire(engines, "a")
    assert isinstance(failed, Failed) and failed.number == 1708
    mended.touch()
    again = await acquire(engines, "a", "2")
    assert isinstance(again, Failed) and again.number == 1708, "a request does not, before its minute is over"
    loaded = await engines.load("a", 5)
    assert isinstance(loaded, Done) and loaded.data["status"] == "loaded"
    assert isinstance(await acquire(engines, "a", "3"), Slot)


async def test_a_command_loads_and_unloads(engines: Engines) -> None:
    engines.start(plans(lazy("a"), lazy("b", is_pinned=True, memory=3)), BUDGET)
    for name in ("a", "b", "b"):
        loaded = await engines.load(name, 5)
        assert isinstance(loaded, Done) and loaded.data["status"] == "loaded"
    await acquire(engines, "b")
    unloading = await engines.unload("b", 0.1)
    assert isinstance(unloading, Done) and unloading.data["status"] == "loaded", "somebody uses it"
    release(engines, "b")
    await eventually(lambda: engines.states()["b"] == "stopped")
    gone = await engines.unload("a", 5)
    assert isinstance(gone, Done) and gone.data["status"] == "unloaded"
    assert isinstance(await acquire(engines, "a", may_load=False), Failed)
    assert isinstance(await acquire(engines, "a", "2"), Slot)
    assert isinstance(await engines.load("none", 5), Failed)


async def test_a_reload_changes_terms_and_leaves_the_process(engines: Engines) -> None:
    engines.start(plans(lazy("a"), lazy("b", memory=4)), BUDGET)
    slot = await acquire(engines, "a")
    release(engines, "a")
    await acquire(engines, "b")
    release(engines, "b")
    engines.reload(plans(lazy("a", is_pinned=True), lazy("b", memory=4, idle=0.1)), 5, BUDGET)
    again = await acquire(engines, "a", "2")
    assert isinstance(slot, Slot) and isinstance(again, Slot) and again.load == slot.load
    await eventually(lambda: engines.states()["b"] == "stopped")
    engines.reload(plans(lazy("a", "--say=other"), lazy("b", memory=4)), 5, BUDGET)
    waiting = asyncio.ensure_future(acquire(engines, "a", "3"))
    await asyncio.sleep(0.1)
    assert not waiting.done(), "the old one is still in use: never two of one model"
    assert isinstance(await acquire(engines, "b"), Slot), "what fits beside it is loaded meanwhile"
    release(engines, "a", "2")
    after = await waiting
    assert isinstance(after, Slot) and after.load != again.load


async def test_a_budget_that_shrank_is_kept(engines: Engines) -> None:
    engines.start(plans(lazy("a", memory=5), lazy("b", memory=5)), BUDGET)
    for name in ("a", "b"):
        await acquire(engines, name)
        release(engines, name)
    engines.reload(plans(lazy("a", memory=5), lazy("b", memory=5)), 5, 5)
    await eventually(lambda: engines.states() == {"a": "stopped", "b": "ready"})

"""Slots of real engines: the queue, the wait for readiness, and everything that leaves."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from gateway.engines.admission import Admission, Claim
from gateway.engines.lodging import Lodging
from gateway.engines.process import Engine
from gateway.engines.slots import Slots
from gateway.link import Acquire, Failed, Release, Slot
from gateway.priority import Priority
from gateway.settings.terms import Terms
from tests.gateway.engines.conftest import eventually

Make = Callable[..., Slots]


@pytest.fixture
async def make(start: Callable[..., Engine]) -> Make:
    def make(*flags: str, slots: int = 1, bound: int = 10) -> Slots:
        engine = start(*flags)
        made = Slots(Lodging().add(engine, Terms()), Admission(slots, bound))
        made.room.is_open = True
        engine.on_end = made.end_run
        return made

    return make


def ask(request: str, wait: float = 5, load: float = 5, priority: Priority = "normal") -> Acquire:
    return Acquire("fake", request, wait, load, priority)


def give(request: str, progress: bool = True) -> Release:
    return Release("fake", request, progress)


async def test_waits_for_the_engine_then_for_a_slot(make: Make) -> None:
    slots = make("--start-delay=0.2")
    first = await slots.acquire("w", ask("a"))
    assert isinstance(first, Slot)
    assert first.loading >= 0.2
    assert first.queued < 0.1
    assert first.load == "fake-1"
    second = asyncio.ensure_future(slots.acquire("w", ask("b")))
    await asyncio.sleep(0.1)
    assert not second.done()
    slots.release("w", give("a"))
    answer = await second
    assert isinstance(answer, Slot)
    assert answer.url == first.url
    assert answer.queued >= 0.1


async def test_the_queue_keeps_the_order_over_the_start(make: Make) -> None:
    slots = make("--start-delay=0.2")
    order: list[str] = []

    async def use(name: str) -> None:
        assert isinstance(await slots.acquire("w", ask(name)), Slot)
        order.append(name)
        slots.release("w", give(name))

    names = [str(n) for n in range(10)]
    await asyncio.gather(*(use(name) for name in names))
    assert order == names


async def test_what_a_request_would_meet_is_foreseen(make: Make) -> None:
    slots = make("--start-delay=0.2", bound=1)
    assert slots.foresee() is None, "it would wait for the engine"
    await slots.acquire("w", ask("a"))
    assert slots.foresee() is None, "it would wait for the slot"
    waiting = asyncio.ensure_future(slots.acquire("w", ask("b")))
    await eventually(lambda: slots.admission.waiting)
    foreseen, met = slots.foresee(), await slots.acquire("w", ask("c"))
    assert isinstance(foreseen, Failed) and foreseen == met
    slots.release("w", give("a"))
    assert isinstance(await waiting, Slot)
    slots.release("w", give("b"))
    assert slots.foresee() is None
    assert (slots.describe()["in_use"], slots.describe()["waiting"]) == (0, 0), "nothing was taken"
    await slots.engine.stop()
    slots.room.is_open = False  # as the lodging finds
    assert slots.foresee() is None, "it would be loaded again"
    foreseen = slots.foresee(may_load=False)
    assert isinstance(foreseen, Failed) and foreseen.number == 1108


async def test_a_full_waiting_room_before_an_engine_is_foreseen(make: Make) -> None:
    slots = make("--start-delay=5", bound=0)
    waiting = asyncio.ensure_future(slots.acquire("w", ask("a", load=0.3)))
    await asyncio.sleep(0.05)
    foreseen, met = slots.foresee(), await slots.acquire("w", ask("b"))
    assert isinstance(foreseen, Failed) and foreseen == met and foreseen.number == 1709
    await waiting


async def test_full_queue_is_told_at_once(make: Make) -> None:
    slots = make(bound=1)
    await slots.acquire("w", ask("a"))
    waiting = asyncio.ensure_future(slots.acquire("w", ask("b")))
    await eventually(lambda: slots.admission.waiting)
    answer = await asyncio.wait_for(slots.acquire("w", ask("c")), 0.05)
    assert isinstance(answer, Failed)
    assert (answer.number, answer.reason) == (1709, "1 requests wait for this model already.")
    assert answer.retry_after >= 1
    slots.release("w", give("a"))
    assert isinstance(await waiting, Slot)


async def test_a_bound_on_those_who_wait_for_the_start(make: Make) -> None:
    slots = make("--start-delay=0.5", slots=2, bound=3)
    answers = await asyncio.gather(*(slots.acquire("w", ask(str(n), wait=0.1)) for n in range(8)))
    numbers = [0 if isinstance(answer, Slot) else answer.number for answer in answers]
    assert sorted(numbers) == [0, 0, 1709, 1709, 1709, 1802, 1802, 1802]


async def test_higher_classes_take_the_places_of_lower_ones_before_the_start(make: Make) -> None:
    slots = make("--start-delay=0.4", bound=2)
    low = [asyncio.ensure_future(slots.acquire("w", ask(name, priority="low"))) for name in "abc"]
    await eventually(lambda: slots.describe()["loading"] == 3)
    refused = await slots.acquire("w", ask("d", priority="low"))
    assert isinstance(refused, Failed) and (refused.number, refused.details["class"]) == (1709, "low")
    high = asyncio.ensure_future(slots.acquire("w", ask("e", priority="high")))
    for priority, number in (("low", 1709), ("high", 0)):
        foreseen = slots.foresee(claim=Claim(priority))
        assert (foreseen.number if foreseen is not None else 0) == number
    away = await low[2]
    assert isinstance(away, Failed) and away.number == 1709 and away.details["ahead"] == 3
    assert isinstance(await low[0], Slot), "the first slots go to who came first"
    slots.release("w", give("a"))
    assert isinstance(await high, Slot)
    slots.release("w", give("e"))
    assert isinstance(await low[1], Slot)


async def test_a_full_queue_refuses_the_last_of_the_lowest_class(make: Make) -> None:
    slots = make(bound=2)
    await slots.acquire("w", ask("a"))
    low = [asyncio.ensure_future(slots.acquire("w", ask(name, priority="low"))) for name in "bc"]
    await eventually(lambda: slots.describe()["queues"]["low"] == 2)
    high = asyncio.ensure_future(slots.acquire("w", ask("d", priority="high")))
    for priority, number in (("low", 1709), ("normal", 0), ("high", 0)):
        foreseen = slots.foresee(claim=Claim(priority))
        assert (foreseen.number if foreseen is not None else 0) == number
    away = await low[1]
    assert isinstance(away, Failed) and away.number == 1709
    assert away.details == {
        "class": "low",
        "position": 3,
        "ahead": 2,
        "waited": away.details["waited"],
        "expected_wait": 3.0,
    }
    assert away.retry_after == 3
    slots.release("w", give("a"))
    assert isinstance(await high, Slot)
    slots.release("w", give("d"))
    assert isinstance(await low[0], Slot)


async def test_times_are_separate(make: Make) -> None:
    slots = make("--start-delay=0.3")
    late = await slots.acquire("w", ask("a", load=0.1))
    assert isinstance(late, Failed)
    assert late.number == 1808
    assert isinstance(await slots.acquire("w", ask("b", wait=0.1)), Slot)  # the start took longer than `wait`
    queued = await slots.acquire("w", ask("c", wait=0.1))
    assert isinstance(queued, Failed)
    assert queued.number == 1802
    assert slots.describe()["waiting"] == 0


async def test_no_slots_counted(make: Make) -> None:
    slots = make(slots=0, bound=1000)
    answers = await asyncio.gather(*(slots.acquire("w", ask(str(n))) for n in range(100)))
    assert all(isinstance(answer, Slot) for answer in answers)
    assert slots.describe()["in_use"] == 100


@pytest.mark.parametrize("flags", [(), ("--start-delay=0.3",)])
async def test_a_client_that_leaves_the_queue(make: Make, flags: tuple[str, ...]) -> None:
    slots = make(*flags)
    first = asyncio.ensure_future(slots.acquire("w", ask("a")))
    leaving = asyncio.ensure_future(slots.acquire("w", ask("b")))
    last = asyncio.ensure_future(slots.acquire("w", ask("c")))
    await asyncio.sleep(0.05)
    slots.release("w", give("b", progress=False))
    assert isinstance(await leaving, Failed)
    assert isinstance(await first, Slot)
    slots.release("w", give("a"))
    assert isinstance(await last, Slot)
    told = slots.describe()
    assert [told[name] for name in ("in_use", "waiting", "loading", "abandoned")] == [1, 0, 0, 0]


async def test_a_worker_that_dies_gives_everything_back(make: Make) -> None:
    slots = make()
    await slots.acquire("dead", ask("a"))
    queued = [asyncio.ensure_future(slots.acquire("dead", ask(str(n)))) for n in range(3)]
    mine = asyncio.ensure_future(slots.acquire("w", ask("mine")))
    await eventually(lambda: len(slots.admission.waiting) == 4)
    slots.forget_writer("dead")
    assert isinstance(await mine, Slot)
    assert all(isinstance(answer, Failed) for answer in await asyncio.gather(*queued))
    assert slots.describe()["in_use"] == 1


async def test_slots_end_with_the_run(make: Make) -> None:
    slots = make()
    first = await slots.acquire("w", ask("a"))
    queued = asyncio.ensure_future(slots.acquire("w", ask("b")))
    await eventually(lambda: slots.admission.waiting)
    assert slots.engine.run is not None
    os.kill(slots.engine.run.pid, signal.SIGKILL)
    second = await queued
    assert isinstance(first, Slot)
    assert isinstance(second, Slot)
    assert (first.load, second.load) == ("fake-1", "fake-2")
    assert second.loading > 0.3  # it is honest about the new start
    slots.release("w", give("a"))  # comes late, and changes nothing
    assert slots.describe()["in_use"] == 1


async def test_an_abandoned_slot_is_counted(make: Make) -> None:
    slots = make()
    await slots.acquire("w", ask("a"))
    slots.release("w", give("a", progress=False))
    slots.release("w", give("a", progress=False))
    assert slots.describe()["abandoned"] == 1


async def test_more_slots_serve_who_waits(make: Make) -> None:
    slots = make()
    await slots.acquire("w", ask("a"))
    waiting = asyncio.ensure_future(slots.acquire("w", ask("b")))
    await eventually(lambda: slots.admission.waiting)
    slots.resize(2, 10)
    assert isinstance(await waiting, Slot)


async def test_drain(make: Make) -> None:
    slots = make()
    await slots.drain(0)  # nobody there
    await slots.acquire("w", ask("a"))
    drained = asyncio.ensure_future(slots.drain(5))
    await asyncio.sleep(0.05)
    assert not drained.done()
    slots.release("w", give("a"))
    await asyncio.wait_for(drained, 1)


async def test_each_waits_as_long_as_it_may_whoever_came_first(make: Make) -> None:
    """One timer stands for all who wait: also for one who came later and has less time."""
    slots = make()
    await slots.engine.ensure_ready(5)
    await slots.acquire("w", ask("a"))
    clock = asyncio.get_running_loop().time
    ends: dict[str, float] = {}

    async def wait(name: str, patience: float) -> None:
        began = clock()
        answer = await slots.acquire("w", ask(name, wait=patience))
        assert isinstance(answer, Failed) and answer.number == 1802
        ends[name] = clock() - began - patience

    await asyncio.gather(wait("long", 3.0), wait("short", 0.1), wait("middle", 1.5))
    assert list(ends) == ["short", "middle", "long"]
    assert all(-0.01 < late < 1.4 for late in ends.values()), "none waits for another's end"
    assert slots.describe()["waiting"] == 0


async def test_when_the_first_to_expire_is_gone_the_next_still_does(make: Make) -> None:
    slots = make()
    await slots.engine.ensure_ready(5)
    await slots.acquire("w", ask("a"))
    leaving = asyncio.ensure_future(slots.acquire("w", ask("b", wait=1)))
    staying = asyncio.ensure_future(slots.acquire("w", ask("c", wait=2)))
    await eventually(lambda: len(slots.admission.waiting) == 2)
    slots.release("w", give("b"))
    assert isinstance(await leaving, Failed)
    answer = await asyncio.wait_for(staying, 5)
    assert isinstance(answer, Failed) and answer.number == 1802
    slots.release("w", give("a"))
    assert isinstance(await slots.acquire("w", ask("d", wait=0.1)), Slot)

"""Engines that answer their probes and nothing else: ended where they are to blame, left alone where a client is."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.backend import Launch
from gateway.engines import probe, stillness
from gateway.engines.process import Engine
from gateway.engines.silence import measure_silence
from gateway.engines.slots import Slots
from gateway.engines.states import State
from gateway.engines.stillness import Stillness
from gateway.link import Acquire, Command, Done, Failed, Slot
from tests.gateway.engines.conftest import FakeBackend, eventually, make_backend
from tests.gateway.engines.test_effort import open_slots

Start = Callable[..., Engine]


class Computing(FakeBackend):
    def launch(self, port: int) -> Launch:
        return Launch(super().launch(port).argv, sample="{}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (probe, "_PAUSE", 0.05), (probe, "_SUSPECT_PAUSE", 0.05), (probe, "_SAMPLE_PATIENCE", 20.0),
        (stillness, "QUIET", 0.5), (stillness, "_IDLE_SHARE", 50.0),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, seconds)


async def use(start: Start, silence: float, hang: str) -> tuple[Engine, Slots]:
    """An engine that hangs on every path that begins with `hang`, and has a request."""
    engine = start(backend=Computing("fake", make_backend(f"--hang={hang}").settings))
    slots = await open_slots(engine)

    async def tell() -> float:
        return silence

    engine.silence = tell
    assert isinstance(await slots.acquire("w", Acquire("fake", "a", 10, 10)), Slot)
    return engine, slots


@pytest.mark.usefixtures("quick")
async def test_f21_an_engine_that_does_nothing_is_doubted_tried_and_ended(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_SAMPLE_PATIENCE", 1.0)
    engine, _ = await use(start, silence=60.0, hang="/")
    await eventually(lambda: engine.condition.state is State.SUSPECT, 20)
    assert engine.condition.reason.endswith("though requests wait for it")
    await eventually(lambda: engine.restarts == {"stuck": 1}, 20)
    assert "nor for one of ours; was ended by SIGKILL" in engine.condition.reason
    assert (await engine.ensure_ready(20)).load == "fake-2"


@pytest.mark.usefixtures("quick")
async def test_f21_one_that_does_a_piece_of_work_when_asked_is_left_alone(start: Start) -> None:
    """Such as one that waits for a picture which a client's request has named: no client takes it from the others."""
    engine, _ = await use(start, silence=60.0, hang="/v1/chat")
    states: set[State] = set()
    engine._on_change = lambda: states.add(engine.condition.state)
    await eventually(lambda: states == {State.SUSPECT, State.READY}, 20)
    assert engine.restarts == {}


@pytest.mark.usefixtures("quick")
async def test_f21_one_whose_client_does_not_read_is_left_alone(start: Start) -> None:
    engine, slots = await use(start, silence=0.0, hang="/")
    await asyncio.sleep(2)
    assert engine.condition.state is State.READY and engine.restarts == {}
    slots.forget_writer("w")


async def test_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[int | None] = [100]
    progressed: list[float | None] = [0.0]
    silence = 60.0
    clock = asyncio.get_running_loop().time

    async def tell() -> float:
        return silence

    monkeypatch.setattr(stillness, "read_ticks", lambda group: ticks[0])
    monkeypatch.setattr(stillness, "QUIET", 0.02)
    seen = Stillness(1, lambda: progressed[0], tell)

    async def look() -> bool:
        await asyncio.sleep(0.03)
        return await seen.is_seen()

    assert not await look(), "the first look"
    assert await look()
    ticks[0] = 150
    assert not await look(), "it has used a processor"
    assert await look()
    progressed[0] = clock()
    assert not await look(), "it has finished a request"
    assert await look()
    silence = 0.0
    assert not await look(), "one of its requests does not wait for it"
    silence = 60.0
    assert await look()
    progressed[0] = None
    assert not await look(), "it has none"
    progressed[0] = 0.0
    assert not await look(), "a first look again"
    ticks[0] = None
    assert [await look() for _ in range(3)] == [False] * 3, "nobody can tell"


@pytest.mark.parametrize(
    ("answers", "silence"),
    [
        ([Done(40.0)], 40.0),
        ([Done(40.0), Done(31.0)], 31.0),
        ([Done(40.0), Done(None)], 40.0),
        ([Done(None)], 0.0),
        ([Done(40.0), Failed("it has died")], 0.0),
        ([], 0.0),
    ],
)
async def test_all_workers_are_asked(start: Start, answers: list[Done | Failed], silence: float) -> None:
    slots = await open_slots(start())
    slots.admission.slots = 10
    asked: list[Command] = []
    for number in range(len(answers)):
        assert isinstance(await slots.acquire(f"w{number}", Acquire("fake", "a", 10, 10)), Slot)

    async def ask(writer: str, command: Command) -> Done | Failed:
        asked.append(command)
        return answers[int(writer[1:])]

    assert await measure_silence(slots, ask) == silence
    assert asked == [Command("silence", {"load": "fake-1"})] * len(answers)

import asyncio
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.link import Acquire, Done, Failed, Gone, LinkClosed, Observation, Release, Slot
from gateway.relay.places import Places
from gateway.settings.schema import Tier, Timeouts

TIERS = {"free": Tier(priority="low", reserve=50), "pro": Tier(priority="high")}


class Supervisor:
    """A link whose answer the test gives."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.told: list[Any] = []
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def call(self, message: Any) -> asyncio.Future[Any]:
        self.asked.append(message)
        return self.answer

    def tell(self, message: Any) -> None:
        self.told.append(message)


def exchange() -> Exchange:
    head = read_head(b"POST", b"/v1/x", "1.1", [(b"host", b"a")])
    made = Exchange("rid", head, head.method, head.path, 0.0)
    made.peer = "1.2.3.4"
    return made


@pytest.fixture
async def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
async def places(supervisor: Supervisor) -> Places:
    return Places(supervisor, Timeouts(), TIERS)  # type: ignore[arg-type]


async def test_a_slot_and_what_it_cost_to_wait(supervisor: Supervisor, places: Places) -> None:
    supervisor.answer.set_result(Slot("http://x", "load-1", 1.5, 2.5))
    made = exchange()
    assert await places.acquire(made, "qwen") == Slot("http://x", "load-1", 1.5, 2.5)
    assert (made.queued, made.loading) == (1.5, 2.5)
    assert supervisor.asked == [Acquire("qwen", "rid", 30.0, 600.0, "normal", "1.2.3.4")]


@pytest.mark.parametrize(
    ("failed", "number", "retry"),
    [
        (Failed("full", 1709, 7.4), 1709, "7"),
        (Failed("slow", 1802, 0.2), 1802, "1"),
        (Failed("broken", 1708), 1708, "30"),
        (Failed("whatever"), 1707, "5"),
    ],
)
async def test_no_slot(supervisor: Supervisor, places: Places, failed: Failed, number: int, retry: str | None) -> None:
    supervisor.answer.set_result(failed)
    with pytest.raises(GatewayError) as caught:
        await places.acquire(exchange(), "qwen")
    error = caught.value
    assert (error.number, error.message, error.details) == (number, failed.reason, {"backend": "qwen"})
    assert error.headers.get("Retry-After") == retry


async def test_who_leaves_the_queue_gives_its_place_up(supervisor: Supervisor, places: Places) -> None:
    task = asyncio.get_running_loop().create_task(places.acquire(exchange(), "qwen"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert Release("qwen", "rid", False) in supervisor.told


async def test_without_a_supervisor_the_gateway_is_shutting_down(supervisor: Supervisor, places: Places) -> None:
    supervisor.answer.set_exception(LinkClosed("gone"))
    with pytest.raises(GatewayError) as caught:
        await places.acquire(exchange(), "qwen")
    assert caught.value.number == 1901


@pytest.mark.parametrize(("answer", "died"), [(Done(True), True), (Done(False), False), (Failed("?"), False)])
async def test_whether_an_engine_has_died(supervisor: Supervisor, places: Places, answer: Any, died: bool) -> None:
    supervisor.answer.set_result(answer)
    assert await places.has_died("qwen", "load-1", "reset") == died
    assert supervisor.asked == [Gone("qwen", "load-1")]


async def test_only_engines_die(supervisor: Supervisor, places: Places) -> None:
    assert not await places.has_died("remote", "", "reset")
    assert supervisor.asked == []
    supervisor.answer.set_exception(LinkClosed("gone"))
    assert await places.has_died("qwen", "load-1", "reset")


async def test_good_answers_are_told_only_of_suspects(supervisor: Supervisor, places: Places) -> None:
    places.clear("b", "http://x")
    assert supervisor.told == []
    places.report(Observation("b", "http://x", False, "unclear", "acme"))
    places.clear("b", "http://y")
    places.clear("b", "http://x")
    places.clear("b", "http://x")
    assert supervisor.told == [
        Observation("b", "http://x", False, "unclear", "acme"),
        Observation("b", "http://x", True),
    ]


async def test_what_is_down_is_what_the_supervisor_pushed(places: Places) -> None:
    assert not places.down_of("b")
    places.down = {"b": frozenset({"http://x"})}
    assert "http://x" in places.down_of("b")
    assert not places.down_of("c")


@pytest.mark.parametrize("kind", ["malformed", "first_byte_timeout", "idle_timeout", "body_too_large"])
async def test_a_living_connection_tells_no_death(supervisor: Supervisor, places: Places, kind: str) -> None:
    assert not await places.has_died("qwen", "load-1", kind)
    assert supervisor.asked == []

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Raw

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange, Upstream
from gateway.http.head import read_head
from gateway.link import Acquire, Done, EndpointStates, Failed, Gone, LinkClosed, Observation, Release, Slot
from gateway.metrics import BY_NAME, Board, make_board_file
from gateway.relay.places import Places
from gateway.relay.route import Route
from gateway.settings.schema import Config, Tier

TIERS = {"free": Tier(priority="low", reserve=50), "pro": Tier(priority="high")}
ROUTE = Route("/v1/x", frozenset(), None, 1000, "models")  # type: ignore[arg-type]


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


def exchange(priority: bytes = b"") -> Exchange:
    head = read_head(b"POST", b"/v1/x", "1.1", [(b"host", b"a"), (b"x-tollkeeper-priority", priority)])
    made = Exchange("rid", head, head.method, head.path, 0.0)
    made.peer = "1.2.3.4"
    return made


@pytest.fixture
async def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
async def places(supervisor: Supervisor) -> Places:
    return Places(supervisor, Config(tiers=TIERS))  # type: ignore[arg-type]


async def test_a_slot_and_what_it_cost_to_wait(supervisor: Supervisor, places: Places) -> None:
    supervisor.answer.set_result(Slot("http://x", "load-1", 1.5, 2.5))
    made = exchange()
    assert await places.acquire(made, "qwen", ROUTE) == Slot("http://x", "load-1", 1.5, 2.5)
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
        await places.acquire(exchange(), "qwen", ROUTE)
    error = caught.value
    assert (error.number, error.message, error.details) == (number, failed.reason, {"backend": "qwen"})
    assert error.headers.get("Retry-After") == retry


async def test_a_claim_is_the_tiers_and_the_requests(supervisor: Supervisor, places: Places) -> None:
    supervisor.answer.set_result(Slot("http://x"))
    made = exchange(b"Low")
    made.credential = Credential("k", "acme", "pro")
    made.fields = {"messages": Raw(b"[" + b" " * 398 + b"]"), "max_tokens": Raw(b"30"), "n": Raw(b"2")}
    await places.acquire(made, "qwen", ROUTE)
    assert supervisor.asked == [Acquire("qwen", "rid", 30.0, 600.0, "low", "acme", 100 + 60)]
    made.tier, made.fields = "free", {"messages": Raw(b"[]"), "max_tokens": Raw(b'"many"')}
    await places.acquire(made, "qwen", ROUTE)
    assert supervisor.asked[1] == Acquire("qwen", "rid", 30.0, 600.0, "low", "acme", 2 + 50)


async def test_waiting_in_vain_is_told_and_measured(supervisor: Supervisor) -> None:
    board = Board(make_board_file())
    places = Places(supervisor, Config(), board)  # type: ignore[arg-type]
    details = {"class": "normal", "position": 3, "ahead": 2, "expected_wait": 7.0, "waited": 1.5}
    supervisor.answer.set_result(Failed("slow", 1802, 7.0, details))
    made = exchange()
    with pytest.raises(GatewayError) as caught:
        await places.acquire(made, "qwen", ROUTE)
    assert caught.value.details == {"backend": "qwen", **details}
    assert (made.queued, caught.value.headers["X-Tollkeeper-Queue-Ms"]) == (1.5, "1500.00")
    index = board.index("queue_seconds", "qwen", "normal")
    assert sum(board.slots[index : index + BY_NAME["queue_seconds"].width]) == 1 + 1.5


@pytest.mark.parametrize(
    ("source", "progress", "forwarded", "tokens"),
    [
        ("counted", True, 1.0, 12),
        ("estimated", False, 1.0, 12),
        ("none", True, 1.0, 0),  # a refusal, or a failure
        ("none", False, 1.0, -1),  # its client has left: the engine may still be at work
        ("none", False, 0.0, 0),
    ],
)
async def test_what_a_request_took(
    supervisor: Supervisor, places: Places, source: str, progress: bool, forwarded: float, tokens: int
) -> None:
    made = exchange()
    made.fields, made.forwarded, made.tokens.source = {}, forwarded, source
    made.tokens.prompt, made.tokens.completion = 10, 2
    places.release(made, "qwen", progress=progress)
    assert supervisor.told == [Release("qwen", "rid", progress, tokens)]


async def test_who_leaves_the_queue_gives_its_place_up(supervisor: Supervisor, places: Places) -> None:
    task = asyncio.get_running_loop().create_task(places.acquire(exchange(), "qwen", ROUTE))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert Release("qwen", "rid", False, -1) in supervisor.told


async def test_without_a_supervisor_the_gateway_is_shutting_down(supervisor: Supervisor, places: Places) -> None:
    supervisor.answer.set_exception(LinkClosed("gone"))
    with pytest.raises(GatewayError) as caught:
        await places.acquire(exchange(), "qwen", ROUTE)
    assert caught.value.number == 1901


@pytest.mark.parametrize(("answer", "died"), [(Done("exit 1"), "exit 1"), (Done(""), ""), (Failed("?"), "")])
async def test_whether_an_engine_has_died(supervisor: Supervisor, places: Places, answer: Any, died: str) -> None:
    supervisor.answer.set_result(answer)
    assert await places.find_death("qwen", "load-1", "reset") == died
    assert supervisor.asked == [Gone("qwen", "load-1")]


async def test_only_engines_die(supervisor: Supervisor, places: Places) -> None:
    assert not await places.find_death("remote", "", "reset")
    assert supervisor.asked == []
    supervisor.answer.set_exception(LinkClosed("gone"))
    assert await places.find_death("qwen", "load-1", "reset")


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
    assert not await places.find_death("qwen", "load-1", kind)
    assert supervisor.asked == []


async def test_what_an_engine_died_of_is_told_and_what_is_refused_is_heeded(
    supervisor: Supervisor, places: Places
) -> None:
    made = exchange()
    made.body = b'{"model":"m"}'
    made.upstream = Upstream("qwen")
    supervisor.answer.set_result(Done("signal 9"))
    assert await places.find_death("qwen", "run-1", "reset", made)
    assert made.upstream.death == "signal 9"
    (seen,) = [told for told in supervisor.told if isinstance(told, Observation)]
    assert (seen.backend, seen.blame, seen.load, len(seen.body)) == ("qwen", "engine", "run-1", 16)
    places.check_body(made, "qwen", 100.0)
    places.inform(EndpointStates({}, poison={seen.body: 60.0}), 100.0)
    with pytest.raises(GatewayError) as caught:
        places.check_body(made, "qwen", 159.9)
    assert (caught.value.number, caught.value.details) == (1221, {"backend": "qwen"})
    places.check_body(made, "qwen", 160.0)
    places.check_body(made, "other", 100.0)
    made.body = b'{"model":"n"}'
    places.check_body(made, "qwen", 100.0)


async def test_a_body_is_blamed_only_for_a_death(supervisor: Supervisor, places: Places) -> None:
    supervisor.answer.set_result(Done(""))
    assert not await places.find_death("qwen", "run-1", "reset", exchange())
    assert not await places.find_death("qwen", "", "reset", exchange())
    assert supervisor.told == []


async def test_what_has_no_body_is_not_blamed(supervisor: Supervisor, places: Places) -> None:
    """Or everything without a body, and every upload, would be refused together."""
    supervisor.answer.set_result(Done("signal 9"))
    made = exchange()
    made.body = made.fields = None
    assert await places.find_death("qwen", "run-1", "reset", made)
    assert supervisor.told == []


class Waiting:
    """A request at an engine, as a worker knows it."""

    def __init__(self, load: str, seconds: float | None) -> None:
        self.load = load
        self.connection: Any = None if seconds is None else SimpleNamespace(waited=lambda: seconds)


async def test_how_long_an_engine_has_been_silent(places: Places) -> None:
    assert places.measure_silence("run-1") == Done(None)
    places.guests.update([Waiting("run-1", 40.0), Waiting("run-1", 31.0), Waiting("run-2", 5.0)])
    assert (places.measure_silence("run-1"), places.measure_silence("run-2")) == (Done(31.0), Done(5.0))
    places.guests.add(Waiting("run-1", None))
    assert places.measure_silence("run-1") == Done(0.0), "one is just being connected"

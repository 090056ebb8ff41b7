import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange import Credential
from gateway.ledger.limit import Ask, Grant, Need, Quota, Rate, Standing
from gateway.link import Command, Done, Failed, Found, Handler, Link, LinkClosed, LookUp, Pending, Ready, Slot

ASK = Ask("c", (Need(Rate("r", 1, 1_000_000, 2), 1000), Need(Quota("m", 5), 1000)), 7)


class Pair:
    """Two ends over a real socket; what each is told is kept."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.closed = 0
        self.ours: Link
        self.theirs: Link

    async def connect(self, handler: Handler | None = None, **options: Any) -> "Pair":
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        _, self.ours = await loop.create_connection(lambda: Link(self.told.append, self._close), sock=left)
        _, self.theirs = await loop.create_connection(lambda: Link(handler or self.told.append, **options), sock=right)
        return self

    def _close(self) -> None:
        self.closed += 1

    async def part(self) -> None:
        self.theirs.close()
        self.ours.close()
        await eventually(lambda: self.ours.closed and self.theirs.closed)


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    await pair.part()


def frame(call: int, message: Any) -> bytes:
    data = msgspec.msgpack.encode((call, message))
    return struct.pack(">I", len(data)) + data


async def test_a_call_is_answered_and_a_push_is_not(pair: Pair) -> None:
    await pair.connect(lambda message: Slot("http://x") if isinstance(message, Command) else None)
    assert await pair.ours.call(Command("a")) == Slot("http://x")
    assert await pair.ours.call(Ready()) == Done(), "a handler without an answer is done"
    pair.ours.tell(Ready())
    assert await pair.ours.call(Ready()) == Done()
    assert pair.told == []


async def test_answers_find_their_calls_in_any_order(pair: Pair) -> None:
    gates = {name: asyncio.Event() for name in "abc"}

    async def answer(command: Command) -> Done:
        await gates[command.name].wait()
        return Done(command.name)

    await pair.connect(answer)
    calls = {name: pair.ours.call(Command(name)) for name in "abc"}
    for name in "cab":
        gates[name].set()
        assert await calls[name] == Done(name)


async def test_an_answer_may_be_a_future(pair: Pair) -> None:
    """Of somebody in a queue: it is answered when it is done, however that ends."""
    futures: dict[str, asyncio.Future[Any]] = {}

    def handler(message: Any) -> Any:
        return futures.setdefault(message.name, asyncio.get_running_loop().create_future())

    await pair.connect(handler)
    calls = {name: pair.ours.call(Command(name)) for name in ("good", "bad", "gone", "none")}
    await eventually(lambda: len(futures) == 4)
    futures["none"].set_result(None)
    assert await calls["none"] == Done()
    futures["gone"].cancel()
    assert await calls["gone"] == Failed("it was given up")
    futures["bad"].set_exception(ValueError("no such thing"))
    assert await calls["bad"] == Failed("no such thing")
    assert not calls["good"].done()
    futures["good"].set_result(Slot("http://x"))
    assert await calls["good"] == Slot("http://x")


async def test_an_answer_may_be_pending(pair: Pair) -> None:
    """It needs neither task nor future, and leaves at once."""
    waiting: dict[str, Pending[Any]] = {}

    def handler(message: Any) -> Any:
        answer = waiting[message.name] = Pending()
        if message.name == "soon":
            answer.resolve(Done(1))
        return answer

    await pair.connect(handler)
    late, soon = pair.ours.call(Command("late")), pair.ours.call(Command("soon"))
    pair.ours.tell(Command("push"))
    assert await soon == Done(1) and not late.done()
    waiting["push"].resolve(Done("nobody hears this"))
    waiting["late"].resolve(Slot("http://x"))
    assert await late == Slot("http://x")


async def test_what_is_pending_can_be_awaited_and_left() -> None:
    answer: Pending[int] = Pending()

    async def wait() -> int:
        return await answer

    leaving = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    leaving.cancel()
    answer.resolve(3)
    await asyncio.wait([leaving])
    assert leaving.cancelled() and await answer == 3


async def test_both_ends_may_ask(pair: Pair) -> None:
    async def ask_back(_: Any) -> Any:
        return Done(await pair.theirs.call(Command("back")) == Done())

    await pair.connect(ask_back)
    assert await pair.ours.call(Command("there")) == Done(True)


async def test_what_fails_there_is_told_here(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in one answer costs that answer, not the link: the link is a worker's life."""

    async def fail_later() -> None:
        raise OSError("not found")

    def fail(command: Command) -> Any:
        if command.name == "later":
            return fail_later()
        if command.name == "good":
            return Done(1)
        raise RuntimeError("at once")

    await pair.connect(fail)
    assert await pair.ours.call(Command("later")) == Failed("not found")
    assert await pair.ours.call(Command("now")) == Failed("at once")
    pair.ours.tell(Command("now"))
    assert await pair.ours.call(Command("good")) == Done(1)
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 2 and all("Command" in record.getMessage() for record in logged)


@pytest.mark.parametrize("later", [False, True])
async def test_an_answer_that_cannot_be_encoded_is_a_failure(later: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def answer() -> Done:
        return Done(object())

    pair = await Pair().connect(lambda _: answer() if later else Done(object()))
    assert isinstance(await pair.ours.call(Ready()), Failed)
    assert "cannot be sent" in caplog.text
    assert not pair.ours.closed
    await pair.part()


async def test_a_push_that_fails_later_is_logged(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Any) -> None:
        raise OSError("nobody hears this")

    await pair.connect(fail)
    pair.ours.tell(Ready())
    await eventually(lambda: caplog.records)
    assert "link Ready" in caplog.records[0].getMessage()


async def test_calls_that_are_open_when_the_other_end_dies_are_told(pair: Pair) -> None:
    await pair.connect(lambda _: asyncio.get_running_loop().create_future())
    call, abandoned = pair.ours.call(Ready()), pair.ours.call(Ready())
    assert pair.theirs._transport is not None
    pair.theirs._transport.abort()
    with pytest.raises(LinkClosed):
        await call
    del abandoned  # must not be logged as an exception that nobody retrieved: warnings are errors here
    assert pair.ours.closed and pair.closed == 1
    with pytest.raises(ConnectionError):
        await pair.ours.call(Ready())
    pair.ours.tell(Ready())


async def test_what_was_told_last_is_flushed_by_close(pair: Pair) -> None:
    await pair.connect()
    pair.theirs.tell(Command("last words"))
    pair.theirs.close()
    await eventually(lambda: pair.told)
    assert pair.told == [Command("last words")]


async def test_frames_that_come_together_are_handled_in_one_context(pair: Pair) -> None:
    depth: list[str] = []

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        depth.append("in")
        yield
        depth.append("out")

    await pair.connect(lambda message: depth.append(message.name), around=around)
    for name in "ab":
        pair.ours.tell(Command(name))
    await pair.ours.call(Command("c"))
    assert depth == ["in", "a", "b", "c", "out"]


async def test_a_frame_that_is_too_large_ends_the_link(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    await pair.connect()
    assert pair.theirs._transport is not None
    pair.theirs._transport.write(struct.pack(">I", 2**31) + b"x")
    await eventually(lambda: pair.ours.closed)
    assert pair.told == []


@pytest.mark.parametrize("data", [b"\0\0\0\1\xc1", frame(0, {"type": "nobody"}), frame(0, ["Unheard", 1])])
async def test_what_is_no_message_ends_the_link(pair: Pair, data: bytes) -> None:
    await pair.connect()
    assert pair.theirs._transport is not None
    pair.theirs._transport.write(data)
    await eventually(lambda: pair.ours.closed)
    assert pair.told == [] and pair.closed == 1


MESSAGES = [
    Ready(), Command("x", {"a": [1, None, "ü", b"\xff"]}), LookUp(bytes(32)), ASK,
    Found(Credential("id", "acme", "free", models=("a*",))), Found(None), Failed("why", 1707, 2.5), Done({"a": 1}),
    Grant("c", 1, 2, "2026-11", (Standing(1, 2, 3),)),
]  # fmt: skip


@given(st.lists(st.sampled_from(MESSAGES), max_size=6), st.data())
def test_messages_survive_any_cut_of_the_stream(messages: list[Any], data: st.DataObject) -> None:
    stream = b"".join(frame(0, message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    told: list[Any] = []

    async def feed() -> None:
        link = Link(told.append)
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            link.data_received(stream[start:end])

    asyncio.run(feed())
    assert told == messages

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.link import Command, Done, Failed, Forget, Keep, Link, Once, Recall
from gateway.memory import MemoryCache
from gateway.metrics import Board, Reader, make_board_file
from gateway.relay.services import Clock, Fetcher, LocalShared, Meter


def cache(entries: int = 3, size: int = 100) -> tuple[MemoryCache, list[float]]:
    now = [0.0]
    return MemoryCache(lambda: now[0], entries, size), now


def test_a_value_is_kept_for_its_time_and_no_longer() -> None:
    made, now = cache()
    made.put(b"a", b"1", 5.0)
    now[0] = 4.999
    assert made.get(b"a") == b"1"
    now[0] = 5.0
    assert made.get(b"a") is None and made.size == 0
    made.put(b"a", b"1", 0.0)
    assert made.get(b"a") is None


def test_what_was_used_longest_ago_goes_first() -> None:
    made, _ = cache(entries=2)
    made.put(b"a", b"1", 9)
    made.put(b"b", b"2", 9)
    assert made.get(b"a") == b"1"
    made.put(b"c", b"3", 9)
    assert (made.get(b"a"), made.get(b"b"), made.get(b"c")) == (b"1", None, b"3")


def test_what_is_larger_than_the_cache_is_not_kept_and_drops_what_it_replaces() -> None:
    made, _ = cache(size=10)
    made.put(b"a", b"1", 9)
    made.put(b"a", b"1" * 10, 9)
    assert made.get(b"a") is None and made.size == 0
    made.put(b"a", b"1" * 9, 9)
    assert made.get(b"a") == b"1" * 9 and made.size == 10


keys = st.sampled_from([b"a", b"b", b"c", b"dd"])
steps = st.lists(st.tuples(keys, st.binary(max_size=30), st.sampled_from([0.0, 1.0, 9.0]), st.floats(0, 2)))


@given(steps)
def test_bounds_hold_whatever_is_put(steps: list[tuple[bytes, bytes, float, float]]) -> None:
    now, grown = [0.0], [0]

    def grow(by: int) -> None:
        grown[0] += by

    made = MemoryCache(lambda: now[0], 3, 50, grow)
    model: dict[bytes, tuple[bytes, float]] = {}
    for key, value, ttl, passes in steps:
        now[0] += passes
        made.put(key, value, ttl)
        model[key] = (value, now[0] + ttl)
        assert made.size == grown[0] == sum(len(k) + len(v) for k, (_, v) in made._entries.items()) <= 50
        assert len(made._entries) <= 3
        for known, (latest, ends) in model.items():
            assert made.get(known) in ((None, latest) if now[0] < ends else (None,))


def test_the_clock_is_real_time() -> None:
    assert abs(Clock().wall() - time.time()) < 1
    assert abs(Clock().monotonic() - time.monotonic()) < 1


def test_refusals_are_counted_by_rule_and_reason() -> None:
    file = make_board_file()
    meter = Meter(Board(file))
    for _ in range(3):
        meter.rejected("tier:free:rate", "rate_limit_exceeded")
    reader = Reader(file)
    assert reader.read() == {("rejected_total", "tier:free:rate", "rate_limit_exceeded"): [3.0]}
    reader.close()


class Wire:
    """A link to a control that answers as it is told."""

    def __init__(self) -> None:
        self.answer: Any = None
        self.asked: list[Any] = []

    async def connect(self) -> Link:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        _, self.near = await loop.create_connection(lambda: Link(lambda _: None), sock=left)
        _, self.far = await loop.create_connection(lambda: Link(self._receive), sock=right)
        return self.near

    def _receive(self, message: Any) -> Any:
        self.asked.append(message)
        return self.answer


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    yield wire
    wire.near.close()
    wire.far.close()


async def test_shared_memory_is_the_supervisors(wire: Wire) -> None:
    shared = LocalShared(await wire.connect())
    await shared.put(b"k", b"v", 5.0)
    await shared.remove(b"k")
    wire.answer = Done(b"v")
    assert await shared.get(b"k") == b"v"
    wire.answer = Done(True)
    assert await shared.add(b"k", 5.0)
    assert wire.asked == [Keep(b"k", b"v", 5.0), Forget(b"k"), Recall(b"k"), Once(b"k", 5.0)]
    wire.near.close()
    await asyncio.sleep(0.01)
    assert await shared.get(b"k") is None
    await shared.put(b"k", b"v", 5.0)
    with pytest.raises(ConnectionError):
        await shared.add(b"k", 5.0)


async def test_documents_are_fetched_by_control(wire: Wire) -> None:
    fetch = Fetcher(await wire.connect())
    wire.answer = Done(b"{}")
    assert await fetch("https://issuer/jwks") == b"{}"
    assert wire.asked == [Command("fetch", {"url": "https://issuer/jwks", "allow_private": False})]
    wire.answer = Failed("no such host")
    with pytest.raises(OSError, match="no such host"):
        await fetch("https://nowhere/")
    wire.near.close()
    with pytest.raises(OSError, match="link"):
        await fetch("https://issuer/jwks")

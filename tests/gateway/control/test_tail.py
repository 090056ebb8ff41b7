"""The ring of what was stored last: nothing is seen twice, what is missed is said."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.control.tail import Passed, Tail
from gateway.journal import Closed
from tests.gateway.control.records import closed, opened

SHORT = 0.01  # seconds


def make(*ids: str) -> list[Closed]:
    return [closed(opened(id)) for id in ids]


def ids(passed: Passed) -> list[str]:
    return [one.opened.id for one in passed.requests]


async def settle() -> None:
    """Let what was published from here arrive."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def next_ids(reader: AsyncGenerator[Passed, None]) -> list[str]:
    async with asyncio.timeout(20):
        while not (found := ids(await anext(reader))):
            pass
    return found


async def test_a_reader_gets_what_comes_after_him() -> None:
    tail = Tail()
    tail.publish(make("0"))
    async with aclosing(tail.follow(pause=SHORT)) as reader:
        assert ids(await anext(reader)) == []
        thread = threading.Thread(target=tail.publish, args=(make("1", "2"),))
        thread.start()
        assert await next_ids(reader) == ["1", "2"]
        thread.join()
        assert ids(await anext(reader)) == []  # nothing for a while
        tail.publish(make("3"))
        assert await next_ids(reader) == ["3"]
    assert tail.readers == 0


async def test_who_comes_back_goes_on_where_he_was() -> None:
    tail = Tail()
    async with aclosing(tail.follow(pause=SHORT)) as reader:
        await anext(reader)
        tail.publish(make("1", "2", "3"))
        await settle()
        passed = await anext(reader)
    tail.publish(make("4"))
    await settle()
    async with aclosing(tail.follow(passed.name(2))) as reader:
        again = await anext(reader)
        assert (ids(again), again.missed) == (["3", "4"], 0)


async def test_who_is_too_slow_is_told_how_much_he_missed() -> None:
    tail = Tail(length=3)
    async with aclosing(tail.follow(pause=SHORT)) as reader:
        await anext(reader)
        tail.publish(make(*"12345"))
        await settle()
        passed = await anext(reader)
        assert (ids(passed), passed.missed) == (["3", "4", "5"], 2)


async def test_a_position_of_another_process_is_a_gap_of_unknown_size() -> None:
    for position in ("deadbeef-3", "nonsense", "-", "é-²"):
        async with aclosing(Tail().follow(position, SHORT)) as reader:
            assert (await anext(reader)).missed == -1
            assert (await anext(reader)).missed == 0


async def test_a_position_ahead_is_the_end() -> None:
    tail = Tail()
    async with aclosing(tail.follow(pause=SHORT)) as reader:
        name = (await anext(reader)).epoch + "-99"
    async with aclosing(tail.follow(name, SHORT)) as reader:
        await anext(reader)
        tail.publish(make("1"))
        assert await next_ids(reader) == ["1"]


async def test_nothing_is_kept_where_nobody_reads() -> None:
    now = 0.0
    tail = Tail(clock=lambda: now)
    async with aclosing(tail.follow(pause=SHORT)) as reader:
        name = (await anext(reader)).name(0)
        tail.publish(make("1"))
        await settle()
    now = 61.0
    tail.publish(make("2"))
    await settle()
    async with aclosing(tail.follow(name)) as reader:
        passed = await anext(reader)
        assert (ids(passed), passed.missed) == ([], 2)

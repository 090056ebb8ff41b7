"""Timeouts without timers: whoever can be late has a `deadline`, and one sweep every tenth of a second finds the late.

Setting, pushing or clearing a timeout is one attribute write, which is what a data plane does thousands of times a
second; that a timeout fires up to one interval late is the price.
"""

import asyncio
import logging
import math
from collections.abc import Iterable
from typing import Protocol

_log = logging.getLogger("tollkeeper.http")

NEVER = math.inf


class Timed(Protocol):
    """`deadline` is loop time in seconds, `NEVER` for none. `expire` must move the deadline or end the item."""

    deadline: float

    def expire(self) -> None: ...


def sweep(items: Iterable[Timed], now: float) -> list[Timed]:
    """Those whose deadline has come."""
    return [item for item in items if item.deadline <= now]


class Sweeper:
    """Calls `expire()` of every added item once its deadline has passed. One per event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float = 0.1) -> None:
        self._loop = loop
        self._interval = interval
        self._items: set[Timed] = set()
        self._timer = loop.call_later(interval, self._tick)

    def add(self, item: Timed) -> None:
        self._items.add(item)

    def discard(self, item: Timed) -> None:
        self._items.discard(item)

    def close(self) -> None:
        self._timer.cancel()
        self._items.clear()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._tick)
        for item in sweep(self._items, self._loop.time()):
            try:
                item.expire()
            except Exception:
                _log.exception("expire() of %r failed", item)

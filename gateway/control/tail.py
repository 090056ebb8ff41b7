"""What was stored last, for those who follow it live.

One ring for all: a reader is no more than a position in it. Who reads too slowly, or comes back too late, is told how
much passed him by; nobody's slowness costs memory. The ring is filled only while somebody reads, or may come back.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import islice

import msgspec

from gateway.journal import Closed

_LENGTH = 5000  # requests
_LINGER = 60.0  # seconds after the last reader left


class Passed(msgspec.Struct, frozen=True):
    """Requests as they were stored. `missed` went by before them, unseen; -1: nobody knows how many."""

    epoch: str
    position: int  # of the first of `requests`, counted from the start of the process
    requests: Sequence[Closed] = ()
    missed: int = 0

    def name(self, count: int) -> str:
        """The position behind the first `count` of the requests, to go on from."""
        return f"{self.epoch}-{self.position + count}"


class Tail:
    """`publish` is for the thread that stores, all else for the loop. `clock` is monotonic seconds."""

    def __init__(self, length: int = _LENGTH, clock: Callable[[], float] = time.monotonic) -> None:
        self.readers = 0
        self._epoch = os.urandom(4).hex()  # positions of another process mean nothing here
        self._ring: deque[Closed] = deque(maxlen=length)
        self._end = 0  # how many were published
        self._clock = clock
        self._until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    def publish(self, requests: Sequence[Closed]) -> None:
        """These were stored just now."""
        loop = self._loop
        if loop is not None and requests:
            with contextlib.suppress(RuntimeError):  # the loop ends
                loop.call_soon_threadsafe(self._take, requests)

    async def follow(self, after: str = "", pause: float = 10.0) -> AsyncGenerator[Passed, None]:
        """What is stored from now on, or behind the position `after`; that nothing came for `pause` seconds, too."""
        self._loop = asyncio.get_running_loop()
        self.readers += 1
        try:
            at = self._find(after)
            if at is None:  # of another process, or made up
                at = self._end
                yield Passed(self._epoch, at, missed=-1)
            while True:
                begin = self._end - len(self._ring)
                missed, at = max(0, begin - at), max(begin, at)
                found = list(islice(self._ring, at - begin, None))
                yield Passed(self._epoch, at, found, missed)
                at += len(found)
                if at == self._end:
                    await self._wait(pause)
        finally:
            self.readers -= 1
            self._until = self._clock() + _LINGER

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    def _take(self, requests: Sequence[Closed]) -> None:
        self._end += len(requests)
        if not self.readers and self._clock() > self._until:
            self._ring.clear()
            return
        self._ring.extend(requests)
        self._news.set()
        self._news = asyncio.Event()

    def _find(self, after: str) -> int | None:
        if not after:
            return self._end
        epoch, _, position = after.partition("-")
        if epoch != self._epoch or not (position.isascii() and position.isdecimal()) or len(position) > 18:
            return None
        return min(int(position), self._end)

"""Identical requests that are under way in one worker: one asks, the others wait for its answer."""

import asyncio
import enum

from plugins.response_cache.entry import Entry


class Turn(enum.Enum):
    LEAD = "lead"  # ask for all
    ALONE = "alone"  # ask for oneself


Waiter = asyncio.Future[Entry | Turn]


class Flights:
    """By key. Whoever gets the turn to lead must say its `end`, or `disband`.

    A failure wakes one waiter, who asks next; so each of them asks once at the most.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, dict[Waiter, None]] = {}

    def open(self, key: bytes) -> bool:
        """Take the lead; False where somebody has it."""
        if key in self._waiting:
            return False
        self._waiting[key] = {}
        return True

    async def wait(self, key: bytes, seconds: float) -> Entry | Turn:
        """The answer of the one that leads, or what to do without it. After `seconds` the turn is ALONE."""
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        self._waiting[key][waiter] = None
        timer = loop.call_later(seconds, _tell, waiter, Turn.ALONE)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result() is Turn.LEAD:
                self._pass_on(key)  # it was told in the moment in which its client left
            raise
        finally:
            timer.cancel()
            self._waiting.get(key, {}).pop(waiter, None)

    def end(self, key: bytes, entry: Entry | None, has_answer: bool) -> None:
        """The one that led is done: with an answer for all, with one that is for nobody else, or with a failure."""
        if entry is not None:
            self._close(key, entry)
        elif has_answer:
            self.disband(key)
        else:
            self._pass_on(key)

    def disband(self, key: bytes) -> None:
        """There will be no answer to share: everybody asks for himself."""
        self._close(key, Turn.ALONE)

    def _close(self, key: bytes, told: Entry | Turn) -> None:
        for waiter in self._waiting.pop(key):
            _tell(waiter, told)

    def _pass_on(self, key: bytes) -> None:
        waiting = self._waiting[key]
        while waiting:
            waiter = next(iter(waiting))
            del waiting[waiter]
            if not waiter.done():
                waiter.set_result(Turn.LEAD)
                return
        del self._waiting[key]


def _tell(waiter: Waiter, told: Entry | Turn) -> None:
    if not waiter.done():
        waiter.set_result(told)

"""Notices an event loop that is late, or stands still: what blocks it holds up every request of its process.

A thread looks whether the loop still ticks. When it does not, the stack of the loop's thread says who is to blame.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

_TICK = 0.2  # seconds between two ticks of the loop, and between two looks at them
_LIMIT = 0.5  # seconds without a tick that are a stall: it is seen after 0.9 s at the latest
_FRAMES = 8  # innermost ones that are logged

_log = logging.getLogger("tollkeeper")


class Watchdog:
    """Watches the running loop, from whose thread it is made. `on_stall` is called once a stall, by another thread;
    `on_tick` at each tick, by the loop, with the seconds that it came late."""

    def __init__(self, on_stall: Callable[[], None], on_tick: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_stall = on_stall
        self._on_tick = on_tick
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._ticked = time.monotonic() - _TICK
        self._tick()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._next.cancel()

    def _tick(self) -> None:
        before, self._ticked = self._ticked, time.monotonic()
        self._next = self._loop.call_later(_TICK, self._tick)
        self._on_tick(max(0.0, self._ticked - before - _TICK))

    def _watch(self) -> None:
        reported = 0.0
        while not self._stopped.wait(_TICK):
            ticked = self._ticked
            silence = time.monotonic() - ticked
            if silence > _LIMIT and ticked != reported:
                reported = ticked
                self._on_stall()
                _log.error("the event loop has stood still for %.1f s at %s", silence, self._find_place())

    def _find_place(self) -> str:
        """The innermost frames of the loop's thread, the last call first."""
        frame = sys._current_frames().get(self._watched)
        frames = reversed(traceback.extract_stack(frame)[-_FRAMES:])
        return " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames)

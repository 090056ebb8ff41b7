"""Keeps what analytics read while control runs: folds what waits, rebuilds what is due, forgets
old hours, looks up what feedback is about.

It takes a twentieth of one core at most: the more there is to fold, the longer it waits, and the more requests of one
kind it meets at once.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from gateway.control.analytics.fold import find_due, fold, forget_hours, make_due, rebuild
from gateway.control.analytics.measures import DAY, HOUR
from gateway.control.analytics.opinions import keep_abouts
from gateway.control.analytics.window import HOURS_KEPT
from gateway.control.store import Store
from gateway.control.tables import rollup_queue

_PAUSE = 1.0  # seconds between two steps, at least
_SHARE = 20  # times as long as it worked it rests
_QUIET = 60.0  # seconds between two log lines about a failing store

_log = logging.getLogger("tollkeeper.control")


class Roller:
    """`run` works on a thread of its own until it is cancelled; `clock` is unix microseconds."""

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "roll-ups")
        self._hour = 0  # in which hours were last forgotten
        self._complained = -_QUIET

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._step)
            except (SQLAlchemyError, OverflowError) as error:  # a sum that no column holds
                self._complain(error)
            await asyncio.sleep(max(_PAUSE, _SHARE * (time.monotonic() - began)))

    def close(self) -> None:
        """Wait for the step that runs."""
        self._thread.shutdown()

    def _step(self) -> None:
        """Fold everything, rebuild one day, at the first time in an hour forget; look some feedback up."""
        fold_all(self._store)
        with self._store.reading.connect() as connection:
            due = find_due(connection)
        if due:
            rebuild(self._store, due[0])
        now = self._clock()
        if self._hour != now // HOUR:
            with self._store.writing.begin() as connection:
                forget_hours(connection, now - HOURS_KEPT - DAY)
            self._hour = now // HOUR
        keep_abouts(self._store)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained >= _QUIET:
            self._complained = now
            _log.warning("what analytics read is behind, as the store does not take it: %s", error)


def fold_all(store: Store) -> None:
    """In as many transactions as it takes, so that nobody waits long."""
    while _waits(store):
        with store.writing.begin() as connection:
            fold(connection)


def rebuild_all(store: Store) -> int:
    """Roll up all that is stored anew, here and now; how many days that was."""
    with store.writing.begin() as connection:
        make_due(connection)
        due = find_due(connection)
    for day in due:
        rebuild(store, day)
    return len(due)


def _waits(store: Store) -> bool:
    with store.reading.connect() as connection:
        return connection.scalar(select(rollup_queue.c.number).limit(1)) is not None

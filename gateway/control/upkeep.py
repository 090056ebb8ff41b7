"""Keeps the store within its bounds for as long as control lives, beside those who write and read."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from gateway.control.retention import Retention, stored_bytes
from gateway.control.store import Store

_EVERY = 30.0  # seconds between two looks at what is old or too much
_PAUSE = 0.05  # seconds between two batches: others write in it

_log = logging.getLogger("tollkeeper.control")
T = TypeVar("T")


class Upkeep:
    """Runs `retention` on a thread of its own, and measures the store (`size`, in bytes). `file` is SQLite's."""

    def __init__(self, store: Store, retention: Retention, file: str) -> None:
        self.size = 0
        self._store = store
        self._retention = retention
        self._file = file
        self._thread = ThreadPoolExecutor(1, "upkeep")

    @property
    def removed(self) -> dict[str, int]:
        """Traces that were removed so far, by why."""
        return self._retention.removed

    async def run(self) -> None:
        """For as long as the process lives. What the store does not take now is tried again."""
        while True:
            try:
                self.size = await self._call(self._measure)
                await self._repeat(self._retention.step)
                await self._repeat(self._retention.give_back)
                self.size = await self._call(self._measure)
            except SQLAlchemyError as error:
                _log.warning("the store cannot be pruned now: %s", error)
            await asyncio.sleep(_EVERY)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _repeat(self, act: Callable[[], bool]) -> None:
        busy = True
        while busy:
            busy = await self._call(act)
            await asyncio.sleep(_PAUSE)

    async def _call(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _measure(self) -> int:
        with self._store.reading.connect() as connection:
            size = stored_bytes(connection)
        if not self._store.is_shared:
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(f"{self._file}-wal").st_size
        return size

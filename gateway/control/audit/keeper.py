"""Keeps the audit log for as long as control lives: entries on the writing thread, failed logins now and then, age."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.control.audit.book import Book
from gateway.control.audit.entry import Entry

_EVERY = 5.0  # seconds between two entries about failed logins of one address
_PRUNE = 720  # so many of them lie between two looks at what is old

_log = logging.getLogger("tollkeeper.control")


class OnThread(Protocol):
    """Runs what blocks on the thread of short writes."""

    def __call__(self, act: Callable[[], Any], /) -> Awaitable[Any]: ...


class Keeper:
    """`retention` is microseconds that an entry is kept, 0 for ever; `clock` is unix microseconds."""

    def __init__(self, book: Book, on_thread: OnThread, retention: Callable[[], int], clock: Callable[[], int]) -> None:
        self._book = book
        self._on_thread = on_thread
        self._retention = retention
        self._clock = clock

    async def note(self, entry: Entry) -> None:
        """Write an entry. Raises what the store raises."""
        await self._on_thread(lambda: self._book.append([entry]))

    async def run(self) -> None:
        """For as long as the process lives. What the store does not take now is tried again."""
        turn = 0
        while True:
            await self._attempt(self._book.flush)
            if turn % _PRUNE == 0:
                await self._attempt(self._prune)
            turn += 1
            await asyncio.sleep(_EVERY)

    async def _attempt(self, act: Callable[[], Any]) -> None:
        try:
            await self._on_thread(act)
        except SQLAlchemyError as error:
            _log.warning("the audit log cannot be written now: %s", error)

    def _prune(self) -> None:
        if retention := self._retention():
            self._book.prune(self._clock() - retention)

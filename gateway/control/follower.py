"""Follows the journals for as long as the process lives, and tells the ledger what dead writers spent.

A store that is locked or full is tried again: nothing is lost, the journals wait, and the lag is known.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from sqlalchemy.exc import SQLAlchemyError

from gateway.control.fleet import Fleet
from gateway.control.ingest import Ingest
from gateway.control.settlement import Settlement
from gateway.link import Done, Link, LinkClosed, Settled, StoreState

_POLL = 0.15  # seconds between two looks at the journals ...
_GATHER = 0.5  # ... and where much comes: the more rows in a transaction, the fewer pages are written for each
_MUCH = 100  # requests in one look
_RETRY = 1.0  # seconds until a failing store is tried again
_STANDSTILL = 5.0  # seconds that one piece of each journal may take
_QUIET = 10.0  # seconds between two log lines about a failing store

_log = logging.getLogger("tollkeeper.control")
T = TypeVar("T")
A = TypeVarTuple("A")


class Follower:
    """Runs `ingest` and `settlement` on a thread of their own."""

    def __init__(self, link: Link, ingest: Ingest, settlement: Settlement) -> None:
        self._link = link
        self._ingest = ingest
        self._settlement = settlement
        self.fleet: Fleet | None = None  # where replicas share a ledger, it is settled there
        self._thread = ThreadPoolExecutor(1, "ingest")
        self._wake = asyncio.Event()
        self._draining = False
        self._up = True
        self._asked: float | None = None  # since when the store has been at work on something
        self._caught_up = time.monotonic()
        self._complained = -_QUIET

    async def run(self) -> None:
        """Until `drain` was called and everything is stored and settled, or until the link is closed."""
        while not self._link.closed:
            try:
                busy = await self._take()
                self._up = True
            except LinkClosed:
                return
            except (SQLAlchemyError, OSError) as error:
                self._complain(error)
                await asyncio.sleep(_RETRY)
                continue
            if not self._ingest.behind:
                self._caught_up = time.monotonic()
            if self._draining and not busy:
                return
            if not self._draining and not self._ingest.behind:
                await self._pause()

    async def tell(self, writer: str) -> None:
        """The ledger waits for this writer: tell it again where its totals are known, else soon."""
        totals = await self.call(self._settlement.totals, writer)
        if totals is not None:
            self._link.tell(Settled(writer, totals))
        self._wake.set()

    def drain(self) -> None:
        """Make `run` return when nothing is left to do."""
        self._draining = True
        self._wake.set()

    def state(self) -> StoreState:
        """How the store does; an idle pass of the loop is no lag. A database that stands still does not say so."""
        now = time.monotonic()
        stands_still = self._asked is not None and now - self._asked > _STANDSTILL
        lag = now - self._caught_up
        return StoreState(self._up and not stands_still, lag if lag > 2 * _GATHER else 0.0, self._ingest.lost)

    def close(self) -> None:
        """Wait for the thread and let the journals go."""
        self._thread.shutdown()
        self._ingest.close()

    async def _take(self) -> bool:
        self._asked = time.monotonic()
        try:
            busy = await self.call(self._ingest.step)
        finally:
            self._asked = None
        for writer in self._ingest.sealed():
            totals = await self.call(self._settlement.totals, writer)
            if self.fleet is not None and not await self.fleet.settle(writer, totals or ()):
                continue  # Redis is down
            answer = await self._link.call(Settled(writer, totals or ()))
            if isinstance(answer, Done):
                await self.call(self._settlement.settle, writer)
                await self.call(self._ingest.reload)
        return busy

    async def call(self, function: Callable[[*A], T], *arguments: *A) -> T:
        """Run `function` on the thread of `ingest` and `settlement`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _pause(self) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), _POLL if self._ingest.taken < _MUCH else _GATHER)

    def _complain(self, error: Exception) -> None:
        self._up = False
        now = time.monotonic()
        if now - self._complained >= _QUIET:
            self._complained = now
            _log.error("the trace store does not take what is written; it is tried again: %s", error)

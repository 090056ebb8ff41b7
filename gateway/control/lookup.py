"""Who holds a key: asked by workers, and told again when it changed, here or at another replica.

Every change in a shared store leaves a row in `directory_changes`. It is written under the directory's lock, so that
numbers are committed in their order and none can be missed by who reads on from the last one he saw, after any pause.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from gateway.control.directory import Directory
from gateway.control.store import Store
from gateway.control.tables import directory_changes
from gateway.link import Changed, Failed, Found

_LOOK = 0.25  # seconds between two looks for changes of others
_PATIENCE = 2.0  # seconds a look-up may take
_AT_ONCE = 4  # look-ups
_ROWS = 1000  # changes read at once
_DIRECTORY_UNAVAILABLE = 1602

_log = logging.getLogger("tollkeeper.control")


class Lookups:
    """Answers `LookUp`s. `tell` says to the workers which digests changed."""

    def __init__(self, store: Store, directory: Directory, tell: Callable[[Changed], None]) -> None:
        self._store = store
        self._directory = directory
        self._tell = tell
        self._threads = ThreadPoolExecutor(_AT_ONCE, "look-up") if store.is_shared else None
        self._told = 0  # how often changes were told
        self._last = 0  # number of the last change that was read

    def answer(self, digest: bytes) -> Found | Failed | Awaitable[Found | Failed]:
        """A row of SQLite by an index is read beside its writer: quick enough for the loop. PostgreSQL may be slow."""
        if self._threads is None:
            return self._look_up(digest)
        return self._ask(digest)

    def changed(self, digests: tuple[bytes, ...]) -> None:
        """Workers forget what they know of these."""
        if digests:
            self._told += 1
            self._tell(Changed(digests))

    async def follow(self) -> None:
        """Tell what other replicas changed, for as long as the process lives. Begins with what is remembered: workers
        may have lived on while nobody followed."""
        if self._threads is None:
            return
        loop = asyncio.get_running_loop()
        while True:
            try:
                count, digests = await loop.run_in_executor(self._threads, self._read_changes)
                self.changed(digests)
                if count == _ROWS:
                    continue
            except SQLAlchemyError as error:
                _log.debug("changes of other replicas cannot be read: %s", error)
            await asyncio.sleep(_LOOK)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, digest: bytes) -> Found | Failed:
        """What is told must not be older than a change that was told meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    told = self._told
                    found = await loop.run_in_executor(self._threads, self._look_up, digest)
                    if told == self._told:
                        return found
        except TimeoutError:
            _log.error("the directory does not answer within %g s", _PATIENCE)
            return _unavailable()

    def _look_up(self, digest: bytes) -> Found | Failed:
        try:
            return Found(self._directory.look_up(digest))
        except SQLAlchemyError as error:
            _log.error("the directory cannot be read: %s", error)
            return _unavailable()

    def _read_changes(self) -> tuple[int, tuple[bytes, ...]]:
        """How many changes there were, and of which digests."""
        numbered = directory_changes.c.number
        query = select(numbered, directory_changes.c.digests).where(numbered > self._last).order_by(numbered)
        with self._store.reading.connect() as connection:
            rows = connection.execute(query.limit(_ROWS)).all()
        if rows:
            self._last = rows[-1].number
        return len(rows), tuple(row.digests[at : at + 32] for row in rows for at in range(0, len(row.digests), 32))


def _unavailable() -> Failed:
    return Failed("The directory of keys cannot be read", _DIRECTORY_UNAVAILABLE)

"""The keys of an issuer's published set, kept fresh without making requests wait.

A set that was fetched is used until a newer one is there, however long that takes: when the issuer is down, its known
keys go on working. The issuer is asked every `refresh` seconds of use, when a token names a key that is not known, at
most once in 30 s for all that ask, and where no set was ever fetched, after 1, 2, 4 … 30 s.
"""

import asyncio
import logging
import math
from collections.abc import Callable

from gateway.plugin import Services
from plugins.jwt.key import Key, read_set

PAUSE = 30.0  # seconds between two questions about unknown keys, and after a failure

_log = logging.getLogger("tollkeeper.jwt")


class KeySet:
    """`due` is when `keep_fresh` wants to be called, in monotonic seconds; `on_change` is told of another set."""

    def __init__(
        self, url: str, algorithms: frozenset[str], refresh: float, allow_private: bool, on_change: Callable[[], None]
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._refresh = refresh
        self._allow_private = allow_private
        self._on_change = on_change
        self._keys: dict[str, Key] | None = None
        self._document = b""
        self._running: asyncio.Future[None] | None = None
        self._asked = -math.inf
        self._fetched = 0.0
        self._failures = 0
        self.due = math.inf

    def start(self, services: Services) -> None:
        """Begin the first fetch. To be called once, before anything else."""
        self._services = services
        self._now = services.clock.monotonic
        self._begin()

    @property
    def keys(self) -> dict[str, Key] | None:
        """By id; None while none were ever fetched."""
        return self._keys

    async def keep_fresh(self) -> None:
        """Have a newer set fetched, beside the request. Only one that nobody asked after for long is waited for."""
        running = self._begin()
        if not self._failures and self._now() - self._fetched > 2 * self._refresh:
            await asyncio.shield(running)

    async def look_again(self) -> None:
        """Have the set fetched because a key is missing in it, unless that was done a moment ago."""
        if self._running is not None or self._now() - self._asked >= self._pause():
            await asyncio.shield(self._begin())

    def wait(self) -> int:
        """Seconds until the next fetch of a set that was never fetched: a client's `Retry-After`."""
        return max(1, math.ceil(min(self.due - self._now(), PAUSE)))

    def _pause(self) -> float:
        return PAUSE if self._keys is not None else min(2.0 ** min(self._failures - 1, 10), PAUSE)

    def _begin(self) -> asyncio.Future[None]:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_future()
            self._asked, self.due = self._now(), math.inf
            self._services.spawn(self._renew(self._running), "jwks")
        return self._running

    async def _renew(self, done: asyncio.Future[None]) -> None:
        try:
            document = await self._services.fetch(self._url, self._allow_private)
            if document != self._document or self._keys is None:
                self._take(document)
            self._failures, self._fetched = 0, self._now()
            self.due = self._fetched + self._refresh
            self._services.metrics.set("jwks_age_seconds", 0.0)
        except (OSError, ValueError) as error:
            self._fail(error)
        finally:
            self._running = None
            done.set_result(None)

    def _take(self, document: bytes) -> None:
        keys, refused = read_set(document, self._algorithms)
        self._keys, self._document = keys, document
        _log.info("%s has %d keys that verify%s", self._url, len(keys), "".join(f"; {why}" for why in refused))
        self._on_change()

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        now, metrics = self._now(), self._services.metrics
        self.due = now + self._pause()
        metrics.count("jwks_refresh_failures_total")
        if self._keys is not None:
            metrics.set("jwks_age_seconds", now - self._fetched)
        _log.warning("no new key set, the last good one stays in use: %s", error)

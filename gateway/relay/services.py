"""What a worker lends to its plugins (see the protocols in `gateway.plugin`)."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import msgspec

from gateway.link import Command, Done, Failed, Link, LinkClosed
from gateway.metrics import Board
from gateway.plugin import Directory, Ledger
from gateway.settings.schema import Tier

CACHE_BYTES = 32 * 1024 * 1024
CACHE_ENTRIES = 10_000


class Clock:
    """Real time."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def wall() -> float:
        return time.time_ns() / 1e9


class MemoryCache:
    """Keeps values of this worker, bounded in number and bytes; what was used longest ago goes first."""

    def __init__(self, now: Callable[[], float], entries: int = CACHE_ENTRIES, size: int = CACHE_BYTES) -> None:
        self._now = now
        self._most = entries
        self._limit = size
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self.size = 0

    def get(self, key: bytes) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._now():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        if key in self._entries:
            self._drop(key)
        if ttl <= 0 or len(key) + len(value) > self._limit:
            return
        self._entries[key] = (self._now() + ttl, value)
        self.size += len(key) + len(value)
        while self.size > self._limit or len(self._entries) > self._most:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self.size -= len(key) + len(self._entries.pop(key)[1])


class Meter:
    """Counts refusals on the worker's board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def rejected(self, rule: str, reason: str) -> None:
        self._board.add(self._board.index("rejected_total", rule, reason))


class Fetcher:
    """Has control fetch documents."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def __call__(self, url: str) -> bytes:
        try:
            answer = await self._link.call(Command("fetch", {"url": url}))
        except LinkClosed as error:
            raise OSError(str(error)) from None
        if isinstance(answer, Failed):
            raise OSError(answer.reason)
        assert isinstance(answer, Done) and isinstance(answer.data, bytes)
        return answer.data


class Services(msgspec.Struct, frozen=True):
    """The services of one worker."""

    ledger: Ledger
    directory: Directory
    cache: MemoryCache
    fetch: Fetcher
    clock: Clock
    metrics: Meter
    tiers: Mapping[str, Tier]

"""What a worker lends to its plugins (see the protocols in `gateway.plugin`)."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.link import Command, Done, Failed, Link, LinkClosed, Notice, Once
from gateway.metrics import Board
from gateway.plugin import Directory, Ledger, Notify, Shared
from gateway.settings.schema import Config, Model, Role, Route, Tier

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


class LocalShared:
    """One replica: values are kept by each worker for itself, what may be said once only by the supervisor for all."""

    def __init__(self, link: Link, values: MemoryCache) -> None:
        self._link = link
        self._values = values

    async def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        self._values.put(key, value, ttl)

    async def add(self, key: bytes, ttl: float) -> bool:
        answer = await self._link.call(Once(key, ttl))
        assert isinstance(answer, Done)
        return bool(answer.data)


class Notifier:
    """Hands events to control, by way of the supervisor."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __call__(self, event: str, key: str, details: Mapping[str, Any]) -> None:
        self._link.tell(Notice(event, key, dict(details)))


class Meter:
    """Counts on the worker's board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def rejected(self, rule: str, reason: str) -> None:
        self._board.add(self._board.index("rejected_total", rule, reason))

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        self._board.add(self._board.index(name, *labels), by)


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
    shared: Shared
    notify: Notify
    fetch: Fetcher
    clock: Clock
    metrics: Meter
    tiers: Mapping[str, Tier]
    roles: Mapping[str, Role]
    models: Mapping[str, Model]
    routes: Mapping[str, Route]


def make_services(link: Link, ledger: Ledger, directory: Directory, board: Board, config: Config) -> Services:
    """The services of a worker that lives by `config`."""
    cache = MemoryCache(time.monotonic)
    return Services(
        ledger=ledger, directory=directory, cache=cache, shared=LocalShared(link, cache), notify=Notifier(link),
        fetch=Fetcher(link), clock=Clock(), metrics=Meter(board), tiers=config.tiers, roles=config.roles,
        models=config.models, routes={route.path: route for route in config.routes},
    )  # fmt: skip

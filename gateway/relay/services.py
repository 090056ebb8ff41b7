"""What a worker lends to its plugins (see the protocols in `gateway.plugin`)."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.link import Command, Done, Failed, Forget, Keep, Link, LinkClosed, Notice, Once, Recall
from gateway.memory import MemoryCache
from gateway.metrics import Board
from gateway.plugin import Directory, Ledger, Notify, Shared, Spawn
from gateway.settings.schema import Config, Model, Role, Route, Tier
from gateway.tasks import spawn


class Clock:
    """Real time."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def wall() -> float:
        return time.time_ns() / 1e9


class LocalShared:
    """One replica: the supervisor remembers for all its workers."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, key: bytes) -> bytes | None:
        try:
            answer = await self._link.call(Recall(key))
        except LinkClosed:
            return None
        assert isinstance(answer, Done)
        value: bytes | None = answer.data
        return value

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        self._link.tell(Keep(key, value, ttl))

    async def remove(self, key: bytes) -> None:
        self._link.tell(Forget(key))

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

    def set(self, name: str, value: float, *labels: str) -> None:
        self._board.slots[self._board.index(name, *labels)] = value


class Fetcher:
    """Has control fetch documents."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def __call__(self, url: str, allow_private: bool = False) -> bytes:
        try:
            answer = await self._link.call(Command("fetch", {"url": url, "allow_private": allow_private}))
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
    spawn: Spawn
    notify: Notify
    fetch: Fetcher
    clock: Clock
    metrics: Meter
    tiers: Mapping[str, Tier]
    roles: Mapping[str, Role]
    models: Mapping[str, Model]
    routes: Mapping[str, Route]


def make_services(
    link: Link, ledger: Ledger, directory: Directory, board: Board, config: Config, shared: Shared | None = None
) -> Services:
    """The services of a worker that lives by `config`; `shared` is what replicas share, if there are several."""
    held = board.index("cache_bytes", "worker")
    cache = MemoryCache(time.monotonic, grew=lambda by: board.add(held, by))
    return Services(
        ledger=ledger, directory=directory, cache=cache, shared=shared or LocalShared(link), spawn=spawn,
        notify=Notifier(link), fetch=Fetcher(link), clock=Clock(), metrics=Meter(board), tiers=config.tiers,
        roles=config.roles, models=config.models, routes={route.path: route for route in config.routes},
    )  # fmt: skip

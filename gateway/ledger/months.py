"""Keeps the month counters in Redis right for one worker, whatever Redis forgets or does not answer.

A counter holds `used`, which is the sum of its other fields: `w:<writer>`, what a living worker was charged, and
`s:<instance>`, what the dead ones of an instance truly spent (the control process's part).
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

from gateway.ledger.limit import Need, Quota
from gateway.ledger.period import month_at
from gateway.ledger.script import KEPT_MS, MONTH, index_key, month_key
from gateway.ledger.tab import Costs, Name, Tab
from gateway.redis.client import Client
from gateway.redis.connection import pack
from gateway.redis.node import Node
from gateway.tasks import spawn

_BATCH, _PAUSE = 50, 0.01  # months raised at once, and seconds until the next: no request shall wait for them


class Months:
    """The tab of `writer`, and what Redis is told of it."""

    def __init__(self, client: Client, writer: str) -> None:
        self.tab = Tab()
        self._client = client
        self._writer = writer
        self._recounting: asyncio.Task[None] | None = None

    def charge(self, costs: Costs) -> None:
        """Redis has charged these, or given back where negative."""
        new = self.tab.add(costs)
        if new:
            self._index(new)

    def is_reachable(self, name: Name) -> bool:
        return self._client.find(month_key(*name)).is_up

    def settle_doubts(self, node: Node) -> None:
        """A node answers again, and nothing is on its way to it: tell it what is not sure, before anything else."""
        for name in self.tab.pop_unsure():
            if self._client.find(month_key(*name)) is node:
                self._put("set", name)
                self._index([name])
            else:
                self.tab.doubt([name])

    def recount(self) -> None:
        """Redis may have lost its memory: raise every month to what we know; asks may be on their way to it."""
        if self._recounting is None or self._recounting.done():
            self._recounting = spawn(self._recount(), "recount")

    def forget_before(self, wall_us: int) -> None:
        """Months that nobody corrects any more."""
        self.tab.forget(month_at(wall_us - KEPT_MS * 1000, "UTC").name)

    def close(self) -> None:
        if self._recounting is not None:
            self._recounting.cancel()

    async def _recount(self) -> None:
        names = self.tab.names()
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            for name in batch:
                self._put("raise", name)
            self._index(batch)
            await asyncio.sleep(_PAUSE)

    def _put(self, mode: str, name: Name) -> None:
        arguments = (mode, f"w:{self._writer}", self.tab.units(name), KEPT_MS, "")
        self._client.run_whole(MONTH, [month_key(*name)], arguments, partial(self._hear, name))

    def _hear(self, name: Name, reply: Any, is_late: bool) -> None:
        if isinstance(reply, Exception) and not isinstance(reply, TimeoutError):
            self.tab.doubt([name])

    def _index(self, names: Iterable[Name]) -> None:
        """Note which months this writer was charged, for those who settle it."""
        key = index_key(self._writer)
        members = [f"{period} {quota_key}" for quota_key, period in names]
        for command in (("SADD", key, *members), ("PEXPIRE", key, KEPT_MS)):
            self._client.send(key, pack(command), _ignore)


def _ignore(reply: Any, is_late: bool) -> None:
    """A month that is not in the index is settled as long as the journal names it."""


def costs_of(needs: Iterable[Need], period: str, lease: int = 0) -> list[tuple[Name, int]]:
    """The quotas among `needs`: their months, and what each is charged."""
    return [((need.limit.key, period), need.cost + lease) for need in needs if isinstance(need.limit, Quota)]


def negate(costs: Costs) -> list[tuple[Name, int]]:
    return [(name, -cost) for name, cost in costs]

"""This instance among the replicas that share a Redis: it says that it lives, and answers for what its dead spent.

Redis is a memory of the months, the store is the truth: what settled writers spent is kept in a field of each month's
counter that is only ever set to the store's sum. So saying it twice does no harm, and after Redis lost its memory the
sums are raised again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import hiredis

from gateway.control.settlement import Settlement, Totals
from gateway.ledger.script import FLEET, KEPT_MS, MONTH, Script, index_key, month_key
from gateway.link import Fleet as FleetSize
from gateway.link import Link, Recount
from gateway.redis.client import Client
from gateway.redis.connection import expect
from gateway.redis.location import parse_location

_PATIENCE = 1.0  # seconds a command may take: no request waits for it
_BEAT = 1.0  # seconds between two signs of life
_RECOUNT = 60  # beats after which the sums are raised in any case
_BATCH = 200  # commands at once
_FLEET = "tk:{fleet}"

_FAILED = (OSError, hiredis.ReplyError)
_log = logging.getLogger("tollkeeper.control")
Run = Callable[..., Any]


class Fleet:
    """One instance. `instance` is its name, for ever; `call` runs a function of the settlement on its thread."""

    def __init__(self, redis: str, instance: str, link: Link, settlement: Settlement, call: Run) -> None:
        self._client = Client(parse_location(redis), patience=_PATIENCE)
        self._field = f"s:{instance}"
        self._instance = instance
        self._link = link
        self._settlement = settlement
        self._call = call
        self._memories: dict[str, str] = {}  # by node: its run

    async def run(self) -> None:
        """For as long as the process lives."""
        await self._client.start()
        beats = 0
        while True:
            try:
                await self._beat()
                if await self._has_forgotten() or beats % _RECOUNT == 0:
                    await self._raise_sums()
                    self._link.tell(Recount())
                beats += 1
            except _FAILED as error:
                _log.debug("Redis: %s", error)  # the client says it once in a while
            await asyncio.sleep(_BEAT)

    async def settle(self, writer: str, totals: Totals) -> bool:
        """Put what a dead writer truly spent in place of what it was charged; whether that could be done."""
        try:
            members = await self._client.call(index_key(writer), "SMEMBERS", index_key(writer))
            charged = {_parse_member(member) for member in members}
            spent = {(quota_key, period): units for quota_key, period, units in totals}
            sums = await self._call(self._settlement.settled)
            months = charged | spent.keys()
            answers = [self._put("set", name, sums.get(name, 0) + spent.get(name, 0), f"w:{writer}") for name in months]
            await asyncio.gather(*answers)
            await self._client.call(index_key(writer), "DEL", index_key(writer))
        except _FAILED:
            return False
        return True

    async def close(self) -> None:
        """Take leave, so that the others' shares grow at once."""
        if self._client.is_up:
            try:
                await self._client.call(_FLEET, "ZREM", _FLEET, self._instance)
            except _FAILED:
                pass
        self._client.close()

    async def _beat(self) -> None:
        self._link.tell(FleetSize(await self._run(FLEET, _FLEET, self._instance)))

    async def _has_forgotten(self) -> bool:
        """Whether some node is another process than before, or lost what it was told to remember."""
        has_forgotten = False
        for node in self._client.nodes:
            key = f"{node.probe_key}:{self._instance}"
            info = await self._client.call(key, "INFO", "server")
            run = next(line for line in info.decode().split("\r\n") if line.startswith("run_id:"))
            if not await self._client.call(key, "EXISTS", key) or self._memories.get(node.name) != run:
                has_forgotten = True
                self._memories[node.name] = run
                await self._client.call(key, "SET", key, 1)
        return has_forgotten

    async def _raise_sums(self) -> None:
        sums = list((await self._call(self._settlement.settled)).items())
        for start in range(0, len(sums), _BATCH):
            await asyncio.gather(*[self._put("raise", name, units) for name, units in sums[start : start + _BATCH]])

    async def _put(self, mode: str, name: tuple[str, str], units: int, instead_of: str = "") -> None:
        await self._run(MONTH, month_key(*name), mode, self._field, units, KEPT_MS, instead_of)

    async def _run(self, script: Script, key: str, *arguments: str | int) -> Any:
        future, receiver = expect()
        self._client.run(script, [key], arguments, receiver)
        return await future


def _parse_member(member: bytes) -> tuple[str, str]:
    period, _, quota_key = member.decode().partition(" ")
    return quota_key, period

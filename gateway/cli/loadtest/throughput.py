"""As many requests as the connections carry, for a while: how many a second, how fast, and what went wrong."""

import asyncio
from collections.abc import Iterator

from gateway.cli.loadtest.caller import Caller, Purse, Shot
from gateway.cli.loadtest.figure import Row, count_ends, describe_times, find_bad

_STREAMED = 4  # every fourth request is a stream
_PAUSE = 0.05  # seconds after a refusal: hammering a closed door measures nothing


class Throughput:
    """Every connection sends one request after the other."""

    name = "throughput"

    def __init__(self, caller: Caller, purse: Purse) -> None:
        self._caller = caller
        self._purse = purse
        self._whole: list[Shot] = []
        self._streams: list[Shot] = []
        self._sent = 0

    async def run(self) -> None:
        ends = asyncio.get_running_loop().time() + self._caller.target.seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(self._caller.target.connections):
                group.create_task(self._send_until(ends))

    async def _send_until(self, ends: float) -> None:
        now = asyncio.get_running_loop().time
        while now() < ends and self._purse.take():
            self._sent += 1
            stream = self._sent % _STREAMED == 0
            shot = await self._caller.chat(stream)
            (self._streams if stream else self._whole).append(shot)
            if not shot.is_served:
                await asyncio.sleep(_PAUSE)

    def rows(self) -> Iterator[Row]:
        shots = [*self._whole, *self._streams]
        if not shots:
            yield Row(self.name, "answers", "skipped", "nothing was sent")
            return
        yield Row(self.name, "answers", "FAILED" if find_bad(shots) else "ok", count_ends(shots))
        begun = min(shot.started for shot in shots)
        spent = max(shot.started + shot.seconds for shot in shots) - begun
        served = sum(shot.is_served for shot in shots)
        yield Row(
            self.name, "served a second", "", f"{served / spent:.0f} over {self._caller.target.connections} connections"
        )
        whole = [shot.seconds for shot in self._whole if shot.is_served]
        yield Row(self.name, "time, whole answers", "", describe_times(whole, 50, 95, 99))
        first = [shot.first for shot in self._streams if shot.is_served]
        yield Row(self.name, "first byte of streams", "", describe_times(first, 50, 95, 99))

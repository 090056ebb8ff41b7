"""Many requests at the same moment: is every one of them answered?"""

import asyncio
from collections.abc import Iterator

from gateway.cli.loadtest.caller import Caller, Purse, Shot
from gateway.cli.loadtest.figure import Row, count_ends, describe_times, find_bad


class Concurrency:
    """As many requests as there are connections, all at once, half of them streamed."""

    name = "concurrency"

    def __init__(self, caller: Caller, purse: Purse) -> None:
        self._caller = caller
        self._purse = purse
        self._shots: list[Shot] = []

    async def run(self) -> None:
        start = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(self._caller.target.connections):
                if self._purse.take():
                    group.create_task(self._send(start, stream=bool(number % 2)))
            await asyncio.sleep(0)
            start.set()

    async def _send(self, start: asyncio.Event, stream: bool) -> None:
        await start.wait()
        self._shots.append(await self._caller.chat(stream))

    def rows(self) -> Iterator[Row]:
        if not self._shots:
            yield Row(self.name, "answered", "skipped", "nothing was sent")
            return
        bad = find_bad(self._shots)
        told = f"{len(self._shots)} at once, {count_ends(self._shots)}"
        yield Row(self.name, "answered", "FAILED" if bad else "ok", told)
        served = [shot.seconds for shot in self._shots if shot.is_served]
        yield Row(self.name, "time", "", describe_times(served, 50, 99))

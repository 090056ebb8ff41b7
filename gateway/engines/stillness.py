"""Whether an engine that answers its probes has stopped to work on requests that wait for it.

Its processes use no processor, no request is finished, and every request that it has is waiting for a byte that the
gateway would read: so no client holds it up. That is reason to doubt it, and to ask it for a smallest piece of work.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.engines.effort import read_ticks

QUIET = 30.0  # seconds
_IDLE_SHARE = 2.0  # clock ticks a second, of a hundred: what it takes to answer probes
Silence = Callable[[], Awaitable[float]]


class Stillness:
    """What one process group is seen not to do. `progressed`: as of `Effort`.

    `silence` tells for how many seconds all requests at this run have been waiting; 0 where one is not.
    """

    def __init__(self, group: int, progressed: Callable[[], float | None], silence: Silence) -> None:
        self._group = group
        self._progressed = progressed
        self._silence = silence
        self._since: float | None = None
        self._ticks = 0

    def forget(self) -> None:
        """It has been seen to work: what was seen before is of no account."""
        self._since = None

    async def is_seen(self) -> bool:
        """To be asked with every probe. Never where the system does not tell what a process uses."""
        progressed = self._progressed()
        ticks = await asyncio.to_thread(read_ticks, self._group) if progressed is not None else None
        if progressed is None or ticks is None:
            self.forget()
            return False
        now = asyncio.get_running_loop().time()
        since = self._since
        if since is None or progressed > since or ticks - self._ticks > _IDLE_SHARE * (now - since):
            self._since, self._ticks = now, ticks
            return False
        return now - since >= QUIET and await self._silence() >= QUIET


async def no_silence() -> float:
    """Of an engine of which nobody tells."""
    return 0.0

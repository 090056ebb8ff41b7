"""The same between workers, and between replicas: one of them asks, the others look for its answer."""

import asyncio
from collections.abc import Callable

from gateway.plugin import Shared
from plugins.response_cache.draft import Draft
from plugins.response_cache.entry import Entry, decode_entry, encode_entry

_PREFIX = b"response_cache:"
_LEAD = 60.0  # seconds that the others wait at the most for one that may have died
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1  # seconds between two looks


class Workers:
    """Answers in the memory that all workers share. `now` is monotonic seconds, `wall` unix seconds."""

    def __init__(self, shared: Shared, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self._shared = shared
        self._now = now
        self._wall = wall

    async def get(self, key: bytes) -> Entry | None:
        return decode_entry(await self._shared.get(_PREFIX + key))

    async def claim(self, draft: Draft, seconds: float) -> tuple[Entry | None, bool]:
        """The answer, if another worker has it or gets it within `seconds`, and whether it was waited for.

        Without one it is this worker that asks; `draft.locked` says whether the others know.
        """
        end, pause = self._now() + seconds, 0.0
        while True:
            entry = await self.get(draft.key)
            if entry is not None:
                return entry, pause > 0
            try:
                draft.locked = await self._shared.add(_PREFIX + b"lead:" + draft.key, _LEAD)
            except ConnectionError:
                return None, False
            if draft.locked:
                return await self.get(draft.key), pause > 0  # it may have come in between
            if self._now() >= end:
                return None, True
            pause = min(pause * 2, _LONGEST_PAUSE) or _FIRST_PAUSE
            await asyncio.sleep(pause)

    async def publish(self, draft: Draft, entry: Entry | None, ttl: float) -> None:
        """Let the others have the answer, or the lead."""
        if entry is not None and (left := ttl - entry.age(self._wall())) > 0:
            await self._shared.put(_PREFIX + draft.key, encode_entry(entry), left)
        if draft.locked:
            await self._shared.remove(_PREFIX + b"lead:" + draft.key)

"""What was said once to any worker, for as long as it matters: one memory for all workers of this replica."""

from collections import OrderedDict
from collections.abc import Callable

_MOST = 200_000  # keys


class Recollection:
    """Keys with an end each. `now` is monotonic seconds. Where there are too many, the oldest is forgotten."""

    def __init__(self, now: Callable[[], float], most: int = _MOST) -> None:
        self._now = now
        self._most = most
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def add(self, key: bytes, ttl: float) -> bool:
        """Remember `key` for `ttl` seconds; whether it was not remembered already."""
        now = self._now()
        while self._ends and next(iter(self._ends.values())) <= now:
            self._ends.popitem(last=False)
        if self._ends.get(key, now) > now:
            return False
        self._ends.pop(key, None)
        self._ends[key] = now + ttl
        if len(self._ends) > self._most:
            self._ends.popitem(last=False)
        return True

    def drop(self, key: bytes) -> None:
        self._ends.pop(key, None)

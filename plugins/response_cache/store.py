"""The answers that one worker keeps."""

from collections import OrderedDict
from collections.abc import Callable

from plugins.response_cache.entry import Entry


class Store:
    """At most `size` bytes of answers; the one used longest ago goes first.

    `now` is monotonic seconds; `grew` is told by how many bytes the whole has grown or shrunk.
    """

    def __init__(self, now: Callable[[], float], size: int, grew: Callable[[int], None]) -> None:
        self._now = now
        self._limit = size
        self._grew = grew
        self._entries: OrderedDict[bytes, tuple[float, Entry]] = OrderedDict()
        self.size = 0

    def get(self, key: bytes) -> Entry | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if found[0] <= self._now():
            self._change(-self._pop(key))
            return None
        self._entries.move_to_end(key)
        return found[1]

    def put(self, key: bytes, entry: Entry, ttl: float) -> None:
        """Keep `entry` for `ttl` seconds, in the place of one that is there."""
        by = -self._pop(key) if key in self._entries else 0
        if ttl > 0 and entry.size <= self._limit:
            self._entries[key] = (self._now() + ttl, entry)
            by += entry.size
            while self.size + by > self._limit:
                by -= self._pop(next(iter(self._entries)))
        self._change(by)

    def clear(self) -> None:
        self._entries.clear()
        self._change(-self.size)

    def _pop(self, key: bytes) -> int:
        return self._entries.pop(key)[1].size

    def _change(self, by: int) -> None:
        self.size += by
        self._grew(by)

"""A bounded map in the memory of one process: what was used longest ago goes first."""

from collections import OrderedDict
from collections.abc import Callable

ENTRIES = 10_000
SIZE = 32 * 1024 * 1024  # bytes


class MemoryCache:
    """`entries` bounds the number of values, `size` the bytes of keys and values together; `now` is in seconds.

    `grew` is told by how many bytes it grew or shrank.
    """

    def __init__(
        self, now: Callable[[], float], entries: int = ENTRIES, size: int = SIZE,
        grew: Callable[[int], None] = lambda by: None,
    ) -> None:  # fmt: skip
        self._now = now
        self._grew = grew
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
        """Keep `value` for `ttl` seconds; what is too large, or has no time, only drops what was there."""
        if key in self._entries:
            self._drop(key)
        if ttl <= 0 or len(key) + len(value) > self._limit:
            return
        self._entries[key] = (self._now() + ttl, value)
        self._grow(len(key) + len(value))
        while self.size > self._limit or len(self._entries) > self._most:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self._grow(-len(key) - len(self._entries.pop(key)[1]))

    def _grow(self, by: int) -> None:
        self.size += by
        self._grew(by)

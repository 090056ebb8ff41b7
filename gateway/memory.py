"""A bounded map in the memory of one process: what was used longest ago goes first."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

ENTRIES = 10_000
SIZE = 32 * 1024 * 1024  # bytes

V = TypeVar("V")


class Memory(Generic[V]):
    """Values that are kept for a while: at most `entries`, of together `size` bytes by `measure` of key and value.

    `now` is in seconds. `grew` is told by how many bytes it grew or shrank.
    """

    def __init__(
        self, now: Callable[[], float], measure: Callable[[bytes, V], int], size: int, entries: int | None = None,
        grew: Callable[[int], None] = lambda by: None,
    ) -> None:  # fmt: skip
        self._now = now
        self._measure = measure
        self._grew = grew
        self._most = entries
        self._limit = size
        self._entries: OrderedDict[bytes, tuple[float, V]] = OrderedDict()
        self.size = 0

    def get(self, key: bytes) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._now():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: bytes, value: V, ttl: float) -> None:
        """Keep `value` for `ttl` seconds; what is too large, or has no time, only drops what was there."""
        if key in self._entries:
            self._drop(key)
        size = self._measure(key, value)
        if ttl <= 0 or size > self._limit:
            return
        self._entries[key] = (self._now() + ttl, value)
        self._grow(size)
        while self.size > self._limit or (self._most is not None and len(self._entries) > self._most):
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        self._entries.clear()
        self._grow(-self.size)

    def _drop(self, key: bytes) -> None:
        self._grow(-self._measure(key, self._entries.pop(key)[1]))

    def _grow(self, by: int) -> None:
        self.size += by
        self._grew(by)


class MemoryCache(Memory[bytes]):
    """Of bytes, keys and values together."""

    def __init__(
        self, now: Callable[[], float], entries: int = ENTRIES, size: int = SIZE,
        grew: Callable[[int], None] = lambda by: None,
    ) -> None:  # fmt: skip
        super().__init__(now, lambda key, value: len(key) + len(value), size, entries, grew)

"""The answers that one worker keeps."""

from collections.abc import Callable

from gateway.plugin import Memory
from plugins.response_cache.entry import Entry


class Store(Memory[Entry]):
    """At most `size` bytes of answers; the one used longest ago goes first.

    `now` is monotonic seconds; `grew` is told by how many bytes the whole has grown or shrunk.
    """

    def __init__(self, now: Callable[[], float], size: int, grew: Callable[[int], None]) -> None:
        super().__init__(now, lambda key, entry: entry.size, size, grew=grew)

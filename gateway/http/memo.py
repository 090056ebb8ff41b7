"""A bounded memory for pure functions of short byte strings, as fast as a dict lookup."""

from collections.abc import Callable
from typing import TypeVar

V = TypeVar("V")

LONGEST_KEY = 256


class Memo(dict[bytes, V]):
    """`memo[key]` is `function(key)`, computed once.

    Holds at most `size` answers for keys of at most 256 bytes and forgets all of them when full, so that a client
    that sends ever new names costs itself time and us no memory. What the function raises is not remembered.
    """

    def __init__(self, function: Callable[[bytes], V], size: int = 1024) -> None:
        self._function = function
        self._size = size

    def __missing__(self, key: bytes) -> V:
        value = self._function(key)
        if len(key) <= LONGEST_KEY:
            if len(self) >= self._size:
                self.clear()
            self[key] = value
        return value

"""Internal ids of requests: 128 bits as 32 hex digits, never a client's.

The first 48 bits are the time in milliseconds, so that the store's index grows at its end (RFC 9562, 5.7, without the
version bits); the other 80 are random.
"""

import os
import time

_BATCH = 4000  # bytes of randomness fetched at once
_DIGITS = 20


class Ids:
    """Makes ids. Not for several threads."""

    def __init__(self) -> None:
        self._random = ""
        self._at = 0
        self._moment = 0
        self._prefix = ""

    def __call__(self) -> str:
        at = self._at
        if at >= len(self._random):
            self._random = os.urandom(_BATCH).hex()
            at = 0
        self._at = at + _DIGITS
        moment = time.time_ns() // 1_000_000
        if moment != self._moment:
            self._moment = moment
            self._prefix = f"{moment:012x}"
        return self._prefix + self._random[at : at + _DIGITS]

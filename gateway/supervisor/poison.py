"""Bodies that engines die of: what took one down twice is not sent to it a third time. Pure: the clock is passed in.

A death is blamed on every body that its engine was working on, so that an innocent one may be meant once; it is refused
only if it was there again when the engine died again. Digests alone are kept, MOST of them, each for MEMORY.
"""

from collections import OrderedDict

DEATHS = 2
MEMORY = 3600.0  # seconds since the last death
MOST = 1000


class Poison:
    """Digests of bodies, each with the runs of the engine that ended while they were worked on."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, tuple[frozenset[str], float]] = OrderedDict()

    def blame(self, body: bytes, run: str, now: float) -> bool:
        """The engine's `run` ended with this body; whether it is to be refused from now on."""
        self._forget(now)
        runs, _ = self._seen.pop(body, (frozenset[str](), 0.0))
        self._seen[body] = (runs | {run}, now) if len(runs) < DEATHS else (runs, now)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return len(runs) < DEATHS <= len(runs | {run})

    def refused(self, now: float) -> dict[bytes, float]:
        """The bodies that are refused, and the seconds for which they are."""
        self._forget(now)
        return {body: at + MEMORY - now for body, (runs, at) in self._seen.items() if len(runs) >= DEATHS}

    def _forget(self, now: float) -> None:
        while self._seen and next(iter(self._seen.values()))[1] + MEMORY <= now:
            self._seen.popitem(last=False)

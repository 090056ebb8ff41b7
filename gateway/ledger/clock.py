"""The authority's two clocks."""

import time
from collections.abc import Callable


class Clock:
    """Time in integer microseconds since 1970: `steady` for rates, `wall` for calendar months.

    Steady time starts at the wall time of its making and then runs by the monotonic clock: a step of the wall clock
    changes nothing while the process runs, and times written down still mean something to the next one.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._anchor_ns = wall_ns() - monotonic_ns()

    def steady_us(self) -> int:
        """Time that never steps."""
        return (self._anchor_ns + self._monotonic_ns()) // 1000

    def wall_us(self) -> int:
        """What the system says the time is."""
        return self._wall_ns() // 1000

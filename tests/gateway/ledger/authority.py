"""The authority under test and the time it lives in."""

from collections.abc import Callable
from pathlib import Path

from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Ask, Grant, Need, Quota, Rate
from tests.gateway.ledger.model import START_US


class Site:
    """One authority and the time it lives in; `now_us` is steady and only ever grows, the wall may be stepped."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._wall_offset_us = 0
        self.now_us = START_US
        self.ledger = self._open()

    def advance(self, us: int) -> None:
        self.now_us += us

    def step_wall(self, us: int) -> None:
        self._wall_offset_us += us

    @property
    def wall_us(self) -> int:
        return self.now_us + self._wall_offset_us

    def used(self, *limits: Rate | Quota) -> list[int]:
        """Milli-units used of each limit, read without changing anything."""
        answer = self.ledger.peek(Ask("peek", tuple(Need(limit, 1) for limit in limits)))
        return [standing.used - isinstance(answer, Grant) for standing in answer.standings]

    def crash(self) -> None:
        """What kill -9 and a restart do: the file is all that is left."""
        self.ledger = self._open()

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = self._open()

    def _open(self) -> EmbeddedLedger:
        clock = Clock(lambda: self.wall_us * 1000, lambda: (self.now_us - START_US) * 1000)
        return EmbeddedLedger.open(self.directory, clock)


NewSite = Callable[[], Site]

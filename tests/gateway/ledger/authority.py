"""The authority under test and the time it lives in. The suite speaks to a `Site` alone; another one may join it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Refund, Renew, Return
from tests.gateway.ledger.model import START_US


class Authority(Protocol):
    """What every authority can do; a *writer* is one run of one worker."""

    def ask(self, writer: str, ask: Ask) -> Grant | Denial: ...

    def peek(self, ask: Ask) -> Grant | Denial:
        """What `ask` would answer; changes nothing."""
        ...

    def refund(self, writer: str, refund: Refund) -> None: ...

    def give_back(self, writer: str, lease: Return) -> None: ...

    def renew(self, writer: str, renew: Renew) -> None: ...

    def settle(self, writer: str, totals: Mapping[tuple[str, str], int]) -> bool:
        """Put {(quota key, period): milli-units} in place of what `writer` was charged, once; False: not known."""
        ...


class Site(ABC):
    """One empty authority and the time it lives in, which the test moves."""

    ledger: Authority
    steps_wall = True  # whether months go by another clock than rates

    def __init__(self) -> None:
        self._wall_offset_us = 0
        self.now_us = START_US  # steady; it only ever grows

    @abstractmethod
    def used_in(self, key: str, period: str) -> int:
        """Milli-units used of a month, be it past."""

    @abstractmethod
    def crash(self) -> None:
        """What kill -9 and a restart do, where that is another thing than nothing."""

    @abstractmethod
    def restart(self) -> None:
        """A clean stop and a start."""

    def advance(self, us: int) -> None:
        self.now_us += us

    def step_wall(self, us: int) -> None:
        assert self.steps_wall
        self._wall_offset_us += us

    @property
    def wall_us(self) -> int:
        return self.now_us + self._wall_offset_us

    def used(self, *limits: Limit) -> list[int]:
        """Milli-units used of each limit, read without changing anything."""
        answer = self.ledger.peek(Ask("peek", tuple(Need(limit, 0) for limit in limits)))
        return [standing.used for standing in answer.standings]


class EmbeddedSite(Site):
    """The supervisor's, with its file in `directory`."""

    ledger: EmbeddedLedger

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.ledger = self._open()

    def used_in(self, key: str, period: str) -> int:
        return self.ledger._book.counters.used((key, period))

    def crash(self) -> None:
        """The file is all that is left."""
        self.ledger = self._open()

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = self._open()

    def _open(self) -> EmbeddedLedger:
        clock = Clock(lambda: self.wall_us * 1000, lambda: (self.now_us - START_US) * 1000)
        return EmbeddedLedger.open(self.directory, clock)


NewSite = Callable[[], Site]

"""The ledger as the supervisor has it: the authority itself, or the stand-in of one that replicas share."""

from pathlib import Path
from typing import Any

from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Refund
from gateway.ledger.share import Share
from gateway.settings.schema import Config

AnyLedger = EmbeddedLedger | Share


def open_ledger(config: Config, directory: str) -> AnyLedger:
    """What workers ask here. With Redis that is only what they cannot ask there."""
    return Share(Clock()) if config.state.redis else EmbeddedLedger.open(Path(directory), Clock())


class Authority:
    """Knows which workers cannot ask Redis now, and what is to be told to Redis once they can again."""

    def __init__(self, ledger: AnyLedger) -> None:
        self._share = ledger if isinstance(ledger, Share) else None
        self._away: set[str] = set()  # workers

    @property
    def is_up(self) -> bool:
        return not self._away

    def change(self, worker: str, is_up: bool) -> Refund:
        """A worker's breaker has closed or opened. The first that is back brings what all have spent meanwhile."""
        if not is_up:
            self._away.add(worker)
        elif worker in self._away and self._share is not None:
            self._away.discard(worker)
            return self._share.end()
        return Refund("outage", (), "")

    def count(self, replicas: int) -> None:
        """So many replicas are alive."""
        if self._share is not None:
            self._share.replicas = max(replicas, 1)

    def bury(self, worker: str) -> None:
        self._away.discard(worker)

    def describe(self) -> dict[str, Any]:
        """For `tollkeeper status` and /ready."""
        if self._share is None:
            return {"authority": "embedded", "up": True}
        return {"authority": "redis", "up": self.is_up, "replicas": self._share.replicas}

    def readings(self) -> list[tuple[tuple[str, ...], float]]:
        """The gauge `ledger_up`."""
        return [(("embedded",) if self._share is None else ("redis",), float(self.is_up))]

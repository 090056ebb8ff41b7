"""Refusing low classes before a worker's event loop falls behind. Pure.

A loop that is late is late for every request: refusing some quickly is worth more than serving all slowly. What tells
is how late the loop's own timer comes, smoothed, as long as there are requests enough to be the reason: a machine that
stood still for a moment has no cure in this.
"""

import math
from collections.abc import Mapping, Sized

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.priority import PRIORITIES
from gateway.relay.claim import find_priority, find_tier
from gateway.settings.schema import Tier

_LEARNING = 4  # ticks over which the lag is averaged
_FEW = 32  # requests in flight that are never the reason
_STEPS = {"low": 1, "normal": 2, "high": 4}  # times the threshold; critical is never refused


class Shedding:
    """`threshold` is seconds of lag from which the class low is refused, 0 for never; normal is at twice as many,
    high at four times. `lag` is the smoothed one. `running` are the requests in flight."""

    def __init__(self, threshold: float, tiers: Mapping[str, Tier], running: Sized) -> None:
        self.lag = 0.0
        self.refused: frozenset[str] = frozenset()  # classes
        self._threshold = threshold
        self._tiers = tiers
        self._running = running

    def notice(self, lag: float) -> float:
        """The loop's timer came `lag` seconds late. Returns the smoothed lag."""
        self.lag += (lag - self.lag) / _LEARNING
        if not self._threshold or len(self._running) < _FEW or self.lag <= self._threshold:
            self.refused = frozenset()
        else:
            times = self.lag / self._threshold
            self.refused = frozenset(name for name in PRIORITIES if times > _STEPS.get(name, math.inf))
        return self.lag

    def check(self, exchange: Exchange) -> None:
        """Raise GatewayError 1904 for a request of a class that is refused now."""
        if not self.refused:
            return
        priority = find_priority(exchange, find_tier(exchange, self._tiers))
        if priority in self.refused:
            wait = str(math.ceil(self.lag))
            details = {"class": priority, "lag": round(self.lag, 3), "limit": self._threshold}
            raise GatewayError(1904, details=details, headers={"Retry-After": wait})

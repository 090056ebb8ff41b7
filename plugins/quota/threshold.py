"""Who has used most of a month: told once to the operator's webhooks, and shown as a gauge."""

from collections.abc import Sequence

from gateway.plugin import Exchange, Quota, Services, Standing
from plugins.quota.bill import Bill
from plugins.quota.refusal import figures

EVENT = "quota.threshold"
_STEPS = (80, 100)  # percent
_TOLD = 10_000  # notices remembered, so that each is told once; control tells each once in any case
_NEAR = 0.7  # of a month
_PAUSE = 0.1  # seconds between two looks at months that are less full
_RECENT = 60.0  # seconds for which the fullest month of a tier is shown


class Thresholds:
    """What one worker saw. Times are monotonic seconds."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._told: dict[str, None] = {}
        self._peaks: dict[str, tuple[float, float]] = {}  # by tier: the highest share, and when it was seen

    def watch(self, exchange: Exchange, bill: Bill, standings: Sequence[Standing]) -> None:
        """Look at the months of a bill after a charge, or a denial. Full ones are looked at each time."""
        bill.watched = exchange.received + _PAUSE
        for at in bill.plan.months:
            limit, used = bill.plan.rules[at].count, standings[at].used
            peak = self._peaks.get(exchange.tier)
            share = used / (1000 * limit)
            if peak is None or share > peak[0] or exchange.received - peak[1] > _RECENT:
                self._peaks[exchange.tier] = (share, exchange.received)
                self._services.metrics.set("quota_used_ratio", share, exchange.tier)
            if share >= _NEAR:
                bill.watched = 0.0
                self._tell(exchange, bill, at, standings[at])

    def _tell(self, exchange: Exchange, bill: Bill, at: int, standing: Standing) -> None:
        assert bill.account is not None
        limit = bill.account.limits[at]
        assert isinstance(limit, Quota)
        for step in _STEPS:
            key = f"{limit.key}:{bill.period}:{step}"
            if standing.used * 100 < step * 1000 * limit.limit or key in self._told:
                continue
            self._told[key] = None
            if len(self._told) > _TOLD:
                del self._told[next(iter(self._told))]
            consumer = exchange.credential.consumer if exchange.credential is not None else ""
            known = figures(bill.plan.rules[at], standing, self._services.clock.wall())
            who = {"consumer": consumer, "tier": exchange.tier, "period": bill.period, "threshold": step}
            self._services.notify(EVENT, key, {**who, **known})

"""The current months as the authority's clock has them, whatever the clock of this machine says."""

from gateway.ledger.limit import Ask, Quota
from gateway.ledger.period import Month, month_at


class Calendar:
    """One month for each zone and anchor, taken from this machine's clock until the authority says otherwise."""

    def __init__(self) -> None:
        self._months: dict[tuple[str, int], Month] = {}

    def find(self, ask: Ask, wall_us: int) -> Month | None:
        """The month that `ask` is charged to; None where no need is a quota. `wall_us` counts for one never met."""
        quota = _quota(ask)
        if quota is None:
            return None
        month = self._months.get((quota.zone, quota.anchor))
        return month if month is not None else self._learn(quota, wall_us)

    def learn(self, ask: Ask, now_us: int) -> Month | None:
        """The month of `ask` at the authority's `now_us`; remembered."""
        quota = _quota(ask)
        return self._learn(quota, now_us) if quota is not None else None

    def _learn(self, quota: Quota, now_us: int) -> Month:
        month = self._months[quota.zone, quota.anchor] = month_at(now_us, quota.zone, quota.anchor)
        return month


def _quota(ask: Ask) -> Quota | None:
    for need in ask.needs:
        if isinstance(need.limit, Quota):
            return need.limit
    return None

"""When memory may come free for those who may not make others go. Pure."""

import math
from collections.abc import Iterable

from gateway.engines.residency import Phase, Tenant


def foresee_vacancy(tenants: Iterable[Tenant], now: float) -> float | None:
    """Seconds until a resident engine goes, as far as that can be known; None where it cannot.

    One with a time of idleness goes by itself, if nobody uses it until then. The others go when somebody who may
    evict them wants the memory: not before they have been there for their minimum residency.
    """
    there = [tenant for tenant in tenants if tenant.phase is Phase.RESIDENT and tenant.may_go]
    by_themselves = [max(_last_use(tenant, now) + tenant.idle, tenant.ripe) for tenant in there]
    ripening = [tenant.ripe for tenant in there if tenant.ripe > now]
    for moments in (by_themselves, ripening):
        if (soonest := min(moments, default=math.inf)) < math.inf:
            return max(0.0, soonest - now)
    return None


def _last_use(tenant: Tenant, now: float) -> float:
    return now if tenant.is_used else tenant.used

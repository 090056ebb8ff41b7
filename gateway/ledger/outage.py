"""What is answered while Redis cannot be asked. Pure.

Rates and slots are decided by this replica's share, or not at all; months are granted, and told to Redis afterwards.
"""

from gateway.ledger.limit import Ask, Denial, Grant, Limit, Quota, Rate, Standing
from gateway.ledger.period import Month, month_at
from gateway.ledger.tab import Tab

MODE = "degraded"


def local_ask(ask: Ask) -> Ask | None:
    """What the replica's share is asked; None where nothing of it is to be decided there."""
    needs = tuple([need for need in ask.needs if not isinstance(need.limit, Quota)])
    return Ask(ask.charge, needs) if needs and ask.policy != "open" else None


def month_of(ask: Ask, known: Month | None, wall_us: int) -> Month | None:
    """The month to charge: the authority's as long as this machine's clock does not say that it is over."""
    if known is None or known.start_us <= wall_us < known.end_us:
        return known
    quota = next(need.limit for need in ask.needs if isinstance(need.limit, Quota))
    return month_at(wall_us, quota.zone, quota.anchor)


def answer_alone(
    ask: Ask, decided: Grant | Denial | None, month: Month | None, wall_us: int, tab: Tab
) -> Grant | Denial:
    """The answer to `ask` where the share has `decided` its part, if it had one."""
    is_denied = isinstance(decided, Denial)
    parts = iter(decided.standings if decided is not None else ())
    places = [at for at, need in enumerate(ask.needs) if decided is not None and not isinstance(need.limit, Quota)]
    standings: list[Standing] = []
    for at, need in enumerate(ask.needs):
        if at in places:
            standings.append(next(parts))
        else:
            standings.append(_stand(need.limit, 0 if is_denied else need.cost, month, wall_us, tab))
    if isinstance(decided, Denial):
        return Denial(ask.charge, places[decided.index], decided.wait_us, tuple(standings), decided.unsatisfiable)
    shadowed = tuple([places[at] for at in decided.shadowed]) if decided is not None else ()
    return Grant(ask.charge, 0, 0, month.name if month is not None else "", tuple(standings), shadowed, MODE)


def _stand(limit: Limit, cost: int, month: Month | None, wall_us: int, tab: Tab) -> Standing:
    """The best that is known: of a month what this worker was charged, of the rest nothing."""
    if isinstance(limit, Rate):
        return Standing(1000 * limit.burst, 0, 0)
    if not isinstance(limit, Quota) or month is None:
        return Standing(1000 * limit.limit, 0, 0)
    used = tab.units((limit.key, month.name)) + cost
    return Standing(max(1000 * limit.limit - used, 0), max(month.end_us - wall_us, 0), used)

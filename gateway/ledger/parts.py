"""An ask whose limits live on several nodes of a cluster: it is taken apart, and the answers are put together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Standing

Places = tuple[int, ...]
Part = tuple[Places, Ask]
Asker = Callable[[str, Ask], Awaitable[Grant | Denial]]  # the mode, take or peek
GiveBack = Callable[[Ask, Sequence[tuple[Places, Grant | Denial]]], None]


def split(ask: Ask, slot_of: Callable[[Limit], int]) -> list[Part]:
    """One ask for each slot, with the places of its needs. The first need's slot, the caller's own, comes last.

    Nothing is leased: units that some of the limits lent would be lost where another does not.
    """
    places: dict[int, list[int]] = {}
    for at, need in enumerate(ask.needs):
        places.setdefault(slot_of(need.limit), []).append(at)
    return [
        (tuple(group), Ask(ask.charge, tuple([ask.needs[at] for at in group]))) for group in reversed(places.values())
    ]


def join(ask: Ask, answers: Sequence[tuple[Places, Grant | Denial]]) -> Grant | Denial:
    """The answer to the whole: a denial if there is one, of several the one that lasts longest."""
    standings: dict[int, Standing] = {}
    shadowed: list[int] = []
    period = ""
    worst: tuple[bool, int, int] | None = None  # unsatisfiable, wait, minus the place
    for places, answer in answers:
        standings.update(zip(places, answer.standings, strict=True))
        if isinstance(answer, Denial):
            found = (answer.unsatisfiable, answer.wait_us, -places[answer.index])
            worst = found if worst is None else max(worst, found)
        else:
            shadowed += [places[at] for at in answer.shadowed]
            period = period or answer.period
    whole = tuple([standings[at] for at in range(len(ask.needs))])
    if worst is not None:
        return Denial(ask.charge, -worst[2], worst[1], whole, worst[0])
    return Grant(ask.charge, 0, 0, period, whole, tuple(sorted(shadowed)))


async def take_parts(ask: Ask, parts: Sequence[Part], one: Asker, give_back: GiveBack) -> Grant | Denial:
    """One part after the other; where one refuses, the earlier get theirs back and the rest is only looked at.

    Where a node cannot be asked the earlier get theirs back as well, and that error is raised.
    """
    taken: list[tuple[Places, Grant | Denial]] = []
    for places, part in parts:
        try:
            answer = await one("take", part)
        except BaseException:
            give_back(ask, taken)
            raise
        if isinstance(answer, Denial):
            give_back(ask, taken)
            rest = [(others, await _look_at(part, one)) for others, part in parts if others != places]
            return join(ask, [(places, answer), *rest])
        taken.append((places, answer))
    return join(ask, taken)


async def _look_at(part: Ask, one: Asker) -> Grant | Denial:
    """Whether it refuses too, and how its limits stand."""
    weighed, standing = await asyncio.gather(one("peek", part), one("peek", _without_cost(part)))
    return weighed if isinstance(weighed, Denial) else standing


def _without_cost(ask: Ask) -> Ask:
    return Ask(ask.charge, tuple([Need(need.limit, 0, True) for need in ask.needs]))

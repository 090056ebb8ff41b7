"""Choosing an endpoint and allowing a retry: pure decisions of one worker."""

from collections.abc import Collection, Sequence

RETRY_SHARE = 0.1  # of live requests, outcomes.md
RETRY_FLOOR = 3


class Candidate:
    """An endpoint of a backend as this worker sees it. `current` is the running weight of the round robin."""

    __slots__ = ("current", "inflight", "url", "weight")

    def __init__(self, url: str, weight: int = 1) -> None:
        self.url = url
        self.weight = weight
        self.inflight = 0
        self.current = 0


def pick_least_inflight(
    candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str] = ()
) -> Candidate | None:
    """The usable endpoint with the fewest requests in flight for its weight; ties go round."""
    usable = _usable(candidates, down, tried)
    if len(usable) < 2:
        return usable[0] if usable else None
    least = min(c.inflight / c.weight for c in usable)
    return pick_weighted([c for c in usable if c.inflight / c.weight == least], ())


def pick_weighted(
    candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str] = ()
) -> Candidate | None:
    """Smooth weighted round robin, as nginx does it: every endpoint gains its weight, the winner pays the sum."""
    usable = _usable(candidates, down, tried)
    if len(usable) < 2:
        return usable[0] if usable else None
    for candidate in usable:
        candidate.current += candidate.weight
    winner = max(usable, key=lambda c: c.current)
    winner.current -= sum(c.weight for c in usable)
    return winner


def _usable(candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str]) -> Sequence[Candidate]:
    if not down and not tried:
        return candidates
    return [c for c in candidates if c.url not in down and c.url not in tried]


class RetryBudget:
    """Retries in flight never exceed a tenth of the live requests (and may always be three)."""

    __slots__ = ("live", "retrying")

    def __init__(self) -> None:
        self.live = 0
        self.retrying = 0

    def take(self) -> bool:
        if self.retrying >= max(RETRY_FLOOR, self.live * RETRY_SHARE):
            return False
        self.retrying += 1
        return True

    def give(self) -> None:
        self.retrying -= 1

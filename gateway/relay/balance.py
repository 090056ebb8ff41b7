"""Choosing an endpoint and allowing a retry: pure decisions of one worker. Clock and dice are passed in."""

import random
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from math import ceil, exp, inf, log

RETRY_SHARE = 0.1  # of live requests, outcomes.md
RETRY_FLOOR = 3
RETRY_EARNED = 0.09  # of a retry, by each request: with the floor no more than a tenth of 300 requests
MEMORY = 10.0  # seconds in which a latency fades to a third
PENALTY = 5.0  # seconds that a failure counts for, at least: who fails fast is not quick
OVERLOAD = 1.25  # how much more than its share an endpoint may have in flight before a hash passes it by
SLACK = 2  # requests in flight, for its weight, that never are too many for a hash
_SMALLEST = 0.001  # seconds; differences below it are noise
_SPAN = 2.0**64


class Candidate:
    """An endpoint of a backend as this worker sees it.

    `current` is the running weight of the round robin, `latency` the seconds until an answer began, averaged over
    time, `good` the answers since the supervisor last heard of this endpoint.
    """

    __slots__ = ("_learned", "current", "good", "inflight", "latency", "salt", "url", "weight")

    def __init__(self, url: str, weight: int = 1) -> None:
        self.url = url
        self.weight = weight
        self.inflight = 0
        self.current = 0
        self.good = 0
        self.latency = 0.0
        self._learned: float | None = None
        self.salt = blake2b(url.encode(), digest_size=16).digest()

    def mirror(self, other: "Candidate") -> None:
        """Be in the state of `other`, the same endpoint as somebody else sees it."""
        self.inflight, self.current = other.inflight, other.current
        self.latency, self._learned = other.latency, other._learned

    def learn(self, seconds: float, now: float) -> None:
        """Take in how long an answer took to begin: what is new weighs by the time since the last one."""
        if self._learned is None:
            self.latency = seconds
        else:
            kept = exp((self._learned - now) / MEMORY)
            self.latency = self.latency * kept + seconds * (1 - kept)
        self._learned = now

    def expected(self, now: float) -> float | None:
        """The latency to be expected, None where nothing is known. A bad one fades, so that it is tried again."""
        if self._learned is None:
            return None
        return max(_SMALLEST, self.latency * exp((self._learned - now) / MEMORY))


Pick = Callable[[Sequence[Candidate], Collection[str], Collection[str]], Candidate | None]


def pick_first(candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str] = ()) -> Candidate | None:
    """The first usable endpoint in the order of the configuration: the others stand by."""
    usable = _usable(candidates, down, tried)
    return usable[0] if usable else None


def pick_least_inflight(
    candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str] = ()
) -> Candidate | None:
    """The usable endpoint with the fewest requests in flight for its weight; ties go round."""
    usable = _usable(candidates, down, tried)
    if len(usable) < 2:
        return usable[0] if usable else None
    best: list[Candidate] = []
    least = inf
    for candidate in usable:
        load = candidate.inflight / candidate.weight
        if load < least:
            least, best = load, [candidate]
        elif load == least:
            best.append(candidate)
    return _take_turns(best)


def pick_weighted(
    candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str] = ()
) -> Candidate | None:
    """Smooth weighted round robin, as nginx does it: every endpoint gains its weight, the winner pays the sum."""
    usable = _usable(candidates, down, tried)
    return _take_turns(usable) if usable else None


def _take_turns(usable: Sequence[Candidate]) -> Candidate:
    winner = usable[0]
    if len(usable) == 1:
        return winner
    total = 0
    for candidate in usable:
        candidate.current += candidate.weight
        total += candidate.weight
        if candidate.current > winner.current:
            winner = candidate
    winner.current -= total
    return winner


class PowerOfTwo:
    """Of two endpoints drawn at random the one that will answer sooner: latency x (in flight + 1) / weight.

    Two are enough to leave the slow ones alone, and no crowd runs to the quickest. As long as the latency of one of
    them is not known, only what is in flight counts. `draw(n)` is a number below n, `now` monotonic seconds.
    """

    def __init__(self, now: Callable[[], float], draw: Callable[[int], int] = random.randrange) -> None:
        self._now = now
        self._draw = draw

    def __call__(
        self, candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str] = ()
    ) -> Candidate | None:
        usable = _usable(candidates, down, tried)
        if len(usable) < 2:
            return usable[0] if usable else None
        first, second = self._draw(len(usable)), self._draw(len(usable) - 1)
        one, other = usable[first], usable[second + (second >= first)]
        now = self._now()
        here, there = one.expected(now), other.expected(now)
        if here is None or there is None:
            here = there = 1.0
        is_better = here * (one.inflight + 1) * other.weight <= there * (other.inflight + 1) * one.weight
        return one if is_better else other


def pick_hashed(
    candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str], key: bytes
) -> Candidate | None:
    """The endpoint that `key` belongs to, the same in every worker and after every start.

    Weighted rendezvous hashing: each endpoint has a score for the key, the best one wins, so that when one leaves only
    its own keys move. Bounded load: who has OVERLOAD times its share in flight is passed by for the next best.
    """
    usable = _usable(candidates, down, tried)
    if len(usable) < 2:
        return usable[0] if usable else None
    share = OVERLOAD * (1 + sum(c.inflight for c in usable)) / sum(c.weight for c in usable)
    ranked = sorted(usable, key=lambda c: _score(c, key), reverse=True)
    for candidate in ranked:
        if candidate.inflight < max(SLACK * candidate.weight, ceil(share * candidate.weight)):
            return candidate
    return ranked[0]


def _score(candidate: Candidate, key: bytes) -> float:
    number = int.from_bytes(blake2b(key, digest_size=8, salt=candidate.salt).digest())
    return -candidate.weight / log((number + 0.5) / _SPAN)


def _usable(candidates: Sequence[Candidate], down: Collection[str], tried: Collection[str]) -> Sequence[Candidate]:
    if not down and not tried:
        return candidates
    return [c for c in candidates if c.url not in down and c.url not in tried]


class RetryBudget:
    """How often requests may be sent again: at once no more than a tenth of the live ones, or RETRY_FLOOR of them.

    Over time, each request earns RETRY_EARNED of a retry and each second a tenth of one, up to the same bound; each
    server after the first is paid from that. So a full outage is met with 1.1 times its requests, and a lone request is
    sent again. What has reached no server yet (`was_sent` is false) needs no pay.
    """

    __slots__ = ("_at", "_earned", "_now", "live", "retrying")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._at = now()
        self._earned = float(RETRY_FLOOR)
        self.live = 0
        self.retrying = 0

    def enter(self) -> None:
        """One request more is live; `leave` when it is over."""
        self.live += 1
        self._earned += RETRY_EARNED

    def leave(self) -> None:
        self.live -= 1

    def take(self, was_sent: bool = True) -> bool:
        """Whether a request may be sent again now; `give` once it is decided what became of it."""
        if self.retrying >= self._bound or not self.pay(was_sent):
            return False
        self.retrying += 1
        return True

    def pay(self, was_sent: bool = True) -> bool:
        """Whether a request may be sent once more, that has been sent again already or that nobody waits for."""
        if not was_sent:
            return True
        now = self._now()
        self._earned = min(self._bound, self._earned + (now - self._at) * RETRY_SHARE)
        self._at = now
        if self._earned < 1:
            return False
        self._earned -= 1
        return True

    @property
    def _bound(self) -> int:
        return max(RETRY_FLOOR, ceil(self.live * RETRY_SHARE))

    def give(self) -> None:
        self.retrying -= 1

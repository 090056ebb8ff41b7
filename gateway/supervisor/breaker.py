"""A circuit breaker: whether one endpoint is asked, as its answers say. Pure: clock and dice are passed in.

    closed ── failures ──► open ── its interval is over ──► half-open ── TRIALS good ones ──► closed
                             ▲                                  │
                             └───────────── a bad one ──────────┘

Open, nothing reaches the endpoint; half-open, TRIALS requests do, one after the other or at once, and no more until
they are judged or PATIENCE is over. So a sick endpoint gets at most TRIALS requests an interval, from all workers
together, and one that is well again is back after its interval and TRIALS requests.
"""

import random
from collections.abc import Callable
from math import exp
from typing import Literal

FAILURES = 5  # in a row, while another endpoint can take over
WINDOW = 4.0  # seconds in which what was seen fades to a third
LEAST = 20  # failures within the window open it even if it is the last one: in a row ...
SHARE = 0.5  # ... or as this share of all answers
OPEN = 5.0  # seconds
LONG_OPEN = 30.0  # seconds, for one that has been sick for longer than SICK
SICK = 60.0
TRIALS = 3
PATIENCE = 5.0  # seconds until trials that nobody judged are given out anew
JITTER = 0.2  # share by which an interval is shorter or longer, so that replicas do not come at the same moment

State = Literal["closed", "open", "half-open"]


def draw_jitter() -> float:
    return random.uniform(1 - JITTER, 1 + JITTER)


class Breaker:
    """One endpoint's. All times are monotonic seconds."""

    __slots__ = ("_at", "_bad", "_given", "_given_at", "_good", "_jitter", "_passed", "_sick_since", "row", "until")

    def __init__(self, jitter: Callable[[], float] = draw_jitter) -> None:
        self._jitter = jitter
        self.row = 0  # failures since the last good answer
        self.until: float | None = None  # end of the open interval; None: closed
        self._at = self._bad = self._good = 0.0  # answers of late, and when they were counted
        self._given = self._passed = 0  # trials of this half-open time
        self._given_at = 0.0
        self._sick_since: float | None = None

    def state(self, now: float) -> State:
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half-open"

    def has_trial(self, now: float) -> bool:
        """Whether a request may try it out."""
        if self.state(now) != "half-open":
            return False
        return self._given < TRIALS or now - self._given_at >= PATIENCE

    def give_trial(self, now: float) -> bool:
        """Whether this request may be the one."""
        if not self.has_trial(now):
            return False
        if self._given >= TRIALS:
            self._given = 0
        self._given += 1
        self._given_at = now
        return True

    def succeed(self, now: float, is_trial: bool, count: int = 1) -> None:
        """`count` good answers. What was sent before it opened says nothing of how it does now."""
        if self.until is None:
            self.row = 0
            self._fade(now)
            self._good += count
        elif is_trial and self.state(now) == "half-open":
            self._passed += 1
            if self._passed >= TRIALS:
                self.close()

    def fail(self, now: float, is_trial: bool, is_last: bool, was_asked: bool) -> None:
        """A failure that is the endpoint's.

        `is_last`: no other endpoint could take over; then only those count that `was_asked` and failed to answer: to
        leave alone what was not reached, or what broke off later, would help nobody.
        """
        if self.until is not None:
            if is_trial and self.state(now) == "half-open":
                self._open(now)
            return
        self.row += 1
        self._fade(now)
        self._bad += was_asked
        is_sick = self._bad >= LEAST and (self.row >= LEAST or self._bad >= SHARE * (self._bad + self._good))
        if is_sick or (self.row >= FAILURES and not is_last):
            self._open(now)

    def close(self) -> None:
        """All is well: what was is forgotten."""
        self.until = self._sick_since = None
        self.row = 0
        self._bad = self._good = 0.0

    def _open(self, now: float) -> None:
        if self._sick_since is None:
            self._sick_since = now
        interval = OPEN if now - self._sick_since < SICK else LONG_OPEN
        self.until = now + interval * self._jitter()
        self._given = self._passed = 0

    def _fade(self, now: float) -> None:
        kept = exp((self._at - now) / WINDOW)
        self._bad *= kept
        self._good *= kept
        self._at = now

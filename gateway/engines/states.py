"""The life of an engine as a pure function: `next_state(condition, event, now)`.

    stopped ──Want──► starting ──Answered──► ready ◄──Answered── suspect
       ▲                 │  ▲                  │ └────Missed────────▲ │
       │               Exited└──Due─┐       Exited                    │ Missed x 3
       │                 ▼          │          ▼                      ▼
       └──Exited── stopping      backoff / failed ◄────Exited──── stopping

A process that ends is started again while the engine is wanted: after a pause that doubles from 0.5 to 30 s. After
three starts in a row that never became ready the engine has `failed`: requests are refused at once, and it is tried
again once a minute, because what it lacks (memory, a disk) may come back. One that does not `revive` is tried again
by the first who wants it after that minute, so that it takes nothing from others meanwhile.
"""

from enum import Enum

import msgspec

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between an exit and the next start
HEALTHY = 10.0  # seconds of readiness after which earlier exits are forgotten
FALSE_STARTS = 3  # starts in a row without readiness: failed
RETRY = 60.0  # seconds until a failed engine is tried again
MISSES = 3  # probes in a row without an answer: hung


class State(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"

    @property
    def serves(self) -> bool:
        """Whether requests may be sent; a suspect engine may just be busy."""
        return self in (State.READY, State.SUSPECT)

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self in (State.STARTING, State.READY, State.SUSPECT, State.STOPPING)


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine stands. Moments are seconds of the caller's clock; `until` is when `Due` is awaited."""

    state: State = State.STOPPED
    since: float = 0.0
    until: float | None = None
    reason: str = ""  # why it is so, for a person
    wanted: bool = False  # whether it shall be started again
    cause: str = ""  # in a word, of the last end: exit, signal N, slow, stuck, memory, abandoned
    kill: bool = False  # stopping without a chance to finish
    ready_since: float | None = None
    misses: int = 0  # probes in a row without an answer
    exits: int = 0  # in a row, without a healthy while between
    false_starts: int = 0  # in a row, without readiness between


def tell_life(now: Condition, wanted: bool) -> str:
    """The state in the words that callers know: loaded, loading, unloading, unloaded or failed."""
    match now.state:
        case State.READY | State.SUSPECT:
            return "loaded" if wanted else "unloading"
        case State.FAILED:
            return "failed"
        case State.STOPPED | State.BACKOFF | State.STARTING | State.STOPPING if wanted:
            return "loading"
        case State.STOPPED:
            return "unloaded"
    return "unloading"


class Want(msgspec.Struct, frozen=True):
    """The engine shall run."""


class Unwant(msgspec.Struct, frozen=True):
    """The engine shall stop."""


class Answered(msgspec.Struct, frozen=True):
    """A probe was answered as it should be, or the engine is seen at work on requests."""


class Missed(msgspec.Struct, frozen=True):
    """A probe was not answered."""


class Unusable(msgspec.Struct, frozen=True):
    """The engine listens where it must not, or has started without its model."""

    reason: str


class Doubted(msgspec.Struct, frozen=True):
    """The engine answers, but does nothing for those who wait for it."""

    reason: str


class Condemned(msgspec.Struct, frozen=True):
    """The engine must go, and has no chance to finish."""

    reason: str
    cause: str


class Exited(msgspec.Struct, frozen=True):
    """The process has ended and is reaped. `jitter` in [0, 1) shortens the pause: engines do not restart as one."""

    reason: str
    jitter: float = 0.0
    cause: str = "exit"


class Due(msgspec.Struct, frozen=True):
    """The moment `until` has come."""


Event = Want | Unwant | Answered | Missed | Unusable | Doubted | Condemned | Exited | Due


class Timing(msgspec.Struct, frozen=True):
    """Seconds that a backend may name."""

    start: float = 120.0  # from launch to ready
    stop: float = 10.0  # from SIGTERM to SIGKILL
    revives: bool = True  # whether a failed engine is tried again by itself; else after the pause, when it is wanted


def next_state(now: Condition, event: Event, time: float, timing: Timing) -> Condition:
    """What becomes of an engine; an event that means nothing in its state changes nothing."""
    match event, now.state:
        case Want(), State.STOPPED | State.FAILED:
            return _start(Condition(wanted=True), time, timing)
        case Want(), _:
            return msgspec.structs.replace(now, wanted=True)
        case Unwant(), State.BACKOFF | State.FAILED:
            return Condition(since=time)
        case Unwant(), State.STOPPED | State.STOPPING:
            return msgspec.structs.replace(now, wanted=False)
        case Unwant(), _:
            return _stop(msgspec.structs.replace(now, wanted=False), "asked to", time, timing, "asked")
        case Answered(), State.STARTING | State.SUSPECT:
            return _become_ready(now, time)
        case Missed(), State.READY | State.SUSPECT:
            return _miss(now, time, timing)
        case Unusable(reason), State.STARTING:
            return _stop(now, reason, time, timing, "slow")
        case Doubted(reason), State.READY:
            return msgspec.structs.replace(now, state=State.SUSPECT, since=time, reason=reason)
        case Condemned(reason, cause), State.STARTING | State.READY | State.SUSPECT:
            return _stop(now, reason, time, timing, cause, kill=True)
        case Exited(), _ if now.state.runs:
            return _end(now, event, time)
        case Due(), _:
            return _proceed(now, time, timing)
    return now


def _start(now: Condition, time: float, timing: Timing) -> Condition:
    until = time + timing.start
    return msgspec.structs.replace(now, state=State.STARTING, since=time, until=until, reason="", kill=False)


def _stop(now: Condition, reason: str, time: float, timing: Timing, cause: str = "", kill: bool = False) -> Condition:
    until = None if kill else time + timing.stop
    return msgspec.structs.replace(
        now, state=State.STOPPING, since=time, until=until, reason=reason, cause=cause, kill=kill
    )


def _become_ready(now: Condition, time: float) -> Condition:
    ready_since = now.ready_since if now.state is State.SUSPECT else time
    return msgspec.structs.replace(
        now, state=State.READY, since=time, until=None, reason="", ready_since=ready_since, misses=0, false_starts=0
    )


def _miss(now: Condition, time: float, timing: Timing) -> Condition:
    misses = now.misses + 1
    if misses >= MISSES:  # SIGKILL at once: a process that is stopped or wedged never handles SIGTERM
        return _stop(now, f"did not answer {misses} probes", time, timing, "stuck", kill=True)
    since = now.since if now.state is State.SUSPECT else time
    return msgspec.structs.replace(now, state=State.SUSPECT, since=since, misses=misses, reason="does not answer")


def _end(now: Condition, event: Exited, time: float) -> Condition:
    """The process is gone: rest, pause, or give up for a while."""
    is_ours = now.state is State.STOPPING
    reason, cause = (f"{now.reason}; {event.reason}", now.cause) if is_ours else (event.reason, event.cause)
    if not now.wanted:
        return Condition(since=time)
    was_healthy = now.ready_since is not None and time - now.ready_since >= HEALTHY
    exits = 1 if was_healthy else now.exits + 1
    false_starts = now.false_starts + 1 if now.ready_since is None else 0
    if false_starts >= FALSE_STARTS:
        state, pause = State.FAILED, RETRY
    else:
        state = State.BACKOFF
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (exits - 1)) * (1 - event.jitter / 4)
    return Condition(
        state=state, since=time, until=time + pause, reason=reason, cause=cause or event.cause, wanted=True,
        exits=exits, false_starts=false_starts,
    )  # fmt: skip


def _proceed(now: Condition, time: float, timing: Timing) -> Condition:
    """The time that was given has passed."""
    match now.state:
        case State.FAILED if not timing.revives:
            return msgspec.structs.replace(now, until=None, wanted=False)
        case State.BACKOFF | State.FAILED:
            return _start(now, time, timing)
        case State.STARTING:
            return _stop(now, f"was not ready after {timing.start:g} s", time, timing, "slow")
        case State.STOPPING:
            return msgspec.structs.replace(now, kill=True, until=None)
    return now

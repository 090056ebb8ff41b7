"""The table of `next_state`."""

import msgspec
import pytest

from gateway.engines.states import (
    Answered,
    Condition,
    Due,
    Event,
    Exited,
    Missed,
    State,
    Timing,
    Unusable,
    Unwant,
    Want,
    next_state,
)

TIMING = Timing(start=60, stop=5)
GONE = Exited("ended with exit code 1")


def after(*events: Event | float, condition: Condition | None = None) -> Condition:
    """What events lead to; numbers are seconds that pass before the next."""
    time = 1000.0
    condition = condition or Condition(wanted=True)
    for event in events:
        if isinstance(event, float):
            time += event
        else:
            condition = next_state(condition, event, time, TIMING)
    return condition


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.STOPPED),
        ([Want()], State.STARTING),
        ([Want(), Answered()], State.READY),
        ([Want(), Missed()], State.STARTING),
        ([Want(), Unusable("taken")], State.STOPPING),
        ([Want(), Due()], State.STOPPING),
        ([Want(), Unwant()], State.STOPPING),
        ([Want(), GONE], State.BACKOFF),
        ([Want(), GONE, Due()], State.STARTING),
        ([Want(), GONE, Unwant()], State.STOPPED),
        ([Want(), GONE, Due(), GONE, Due(), GONE], State.FAILED),
        ([Want(), GONE, Due(), GONE, Due(), GONE, Due()], State.STARTING),
        ([Want(), GONE, Due(), GONE, Due(), GONE, Want()], State.STARTING),
        ([Want(), GONE, Due(), GONE, Due(), GONE, Unwant()], State.STOPPED),
        ([Want(), GONE, Due(), GONE, Due(), Answered(), GONE], State.BACKOFF),
        ([Want(), Answered(), GONE], State.BACKOFF),
        ([Want(), Answered(), Unwant()], State.STOPPING),
        ([Want(), Answered(), Unwant(), GONE], State.STOPPED),
        ([Want(), Answered(), Unwant(), Want(), GONE], State.BACKOFF),
        ([Want(), Answered(), Missed()], State.SUSPECT),
        ([Want(), Answered(), Missed(), Missed()], State.SUSPECT),
        ([Want(), Answered(), Missed(), Missed(), Missed()], State.STOPPING),
        ([Want(), Answered(), Missed(), Missed(), Answered()], State.READY),
        ([Want(), Answered(), Missed(), Missed(), Answered(), Missed()], State.SUSPECT),
        ([Want(), Answered(), Missed(), GONE], State.BACKOFF),
        ([Want(), Answered(), Missed(), Unwant()], State.STOPPING),
        ([Unwant()], State.STOPPED),
        ([GONE], State.STOPPED),
        ([Answered()], State.STOPPED),
    ],
)
def test_states(events: list[Event], state: State) -> None:
    assert after(*events).state is state


def test_every_state_takes_every_event() -> None:
    events: list[Event] = [Want(), Unwant(), Answered(), Missed(), Unusable("x"), GONE, Due()]
    for state in State:
        for event in events:
            condition = Condition(state=state, wanted=True)
            assert isinstance(next_state(condition, event, 1.0, TIMING), Condition)


def test_pauses_double_to_a_bound() -> None:
    condition = after(Want())
    pauses = []
    for _ in range(9):
        condition = next_state(next_state(condition, Answered(), 0.0, TIMING), GONE, 1.0, TIMING)
        pauses.append((condition.until or 0) - 1.0)
        condition = next_state(condition, Due(), 0.0, TIMING)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_jitter_shortens_the_pause_by_up_to_a_quarter() -> None:
    assert after(Want(), Answered(), Exited("", jitter=1.0)).until == 1000 + 0.375


def test_a_healthy_while_forgets_exits() -> None:
    crashes = [Want(), Answered(), GONE, Due(), Answered(), GONE, Due(), Answered()]
    assert after(*crashes, 9.9, GONE).exits == 3
    assert after(*crashes, 10.0, GONE).exits == 1


def test_a_suspicion_does_not_hide_a_healthy_while() -> None:
    assert after(Want(), Answered(), GONE, Due(), Answered(), 11.0, Missed(), Answered(), GONE).exits == 1


def test_deadlines() -> None:
    assert after(Want()).until == 1060
    assert after(Want(), Answered()).until is None
    stopping = after(Want(), Answered(), Unwant())
    assert (stopping.until, stopping.kill) == (1005, False)
    killed = after(Want(), Answered(), Unwant(), 5.0, Due())
    assert (killed.state, killed.until, killed.kill) == (State.STOPPING, None, True)


def test_a_hang_is_killed_at_once() -> None:
    hung = after(Want(), Answered(), Missed(), Missed(), Missed())
    assert (hung.kill, hung.until, hung.wanted) == (True, None, True)
    assert after(Exited("was ended by SIGKILL"), condition=hung).reason == (
        "did not answer 3 probes; was ended by SIGKILL"
    )


def test_what_means_nothing_changes_nothing() -> None:
    ready = after(Want(), Answered())
    assert after(Answered(), condition=ready) == ready
    assert after(Unusable("x"), condition=ready) == ready
    assert after(Want(), condition=ready) == msgspec.structs.replace(ready, wanted=True)

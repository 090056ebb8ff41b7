"""When an endpoint is left alone, for how long, and how it comes back: time is passed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.supervisor.breaker import (
    FAILURES,
    JITTER,
    LEAST,
    LONG_OPEN,
    OPEN,
    PATIENCE,
    SICK,
    TRIALS,
    WINDOW,
    Breaker,
    draw_jitter,
)


def breaker() -> Breaker:
    return Breaker(lambda: 1.0)


def fail(made: Breaker, times: int = 1, now: float = 0.0, *, last: bool = False, asked: bool = True) -> str:
    for _ in range(times):
        made.fail(now, is_trial=False, is_last=last, was_asked=asked)
    return made.state(now)


def opened(now: float = 0.0) -> Breaker:
    made = breaker()
    assert fail(made, FAILURES, now) == "open"
    return made


def test_failures_in_a_row_open_it() -> None:
    made = breaker()
    assert fail(made, FAILURES - 1) == "closed"
    made.succeed(0.0, is_trial=False)
    assert fail(made, FAILURES - 1) == "closed"
    assert fail(made) == "open"


def test_a_share_of_failures_opens_it_without_a_row() -> None:
    made = breaker()
    for at in range(200):
        made.succeed(at / 100, is_trial=False)
        if fail(made, 2, at / 100) == "open":
            break
    assert at == 10, "twenty failures in a moment, two of three answers"
    made = breaker()
    for at in range(1000):
        made.succeed(at / 100, is_trial=False, count=2)
        assert fail(made, 1, at / 100) == "closed", "a third of the answers is no reason"


@pytest.mark.parametrize(("rate", "state"), [(1.0, "closed"), (10.0, "open")])
def test_the_last_endpoint_is_left_alone_only_where_much_fails(rate: float, state: str) -> None:
    """A failure a second is no burden, and a real error tells a client more than `no endpoint`."""
    made = breaker()
    for number in range(100):
        now = number / rate
        if fail(made, 1, now, last=True) == "open":
            break
    assert made.state(now) == state
    if state == "open":
        assert LEAST <= number + 1 <= 2 * LEAST


def test_what_never_reached_the_last_endpoint_is_no_burden_to_it() -> None:
    assert fail(breaker(), 1000, last=True, asked=False) == "closed"
    assert fail(breaker(), FAILURES, last=False, asked=False) == "open"


def test_a_row_counts_whatever_was_good_before() -> None:
    made = breaker()
    made.succeed(0.0, is_trial=False, count=10_000)
    assert fail(made, LEAST - 1, last=True) == "closed"
    assert fail(made, 1, last=True) == "open"


def test_old_failures_fade() -> None:
    made = breaker()
    assert fail(made, LEAST - 1, last=True) == "closed"
    assert fail(made, 1, WINDOW, last=True) == "closed"
    assert fail(made, LEAST, WINDOW, last=True) == "open"


def test_open_nothing_passes_then_a_few_do() -> None:
    made = opened()
    assert not made.give_trial(OPEN - 0.01)
    assert made.state(OPEN) == "half-open"
    assert [made.give_trial(OPEN) for _ in range(TRIALS + 2)] == [True] * TRIALS + [False] * 2
    for number in range(TRIALS):
        assert made.state(OPEN) == "half-open", number
        made.succeed(OPEN, is_trial=True)
    assert made.state(OPEN) == "closed"
    assert fail(made, FAILURES - 1, OPEN) == "closed", "it begins anew"


def test_one_bad_trial_opens_it_again() -> None:
    made = opened()
    made.give_trial(OPEN)
    made.succeed(OPEN, is_trial=True)
    made.give_trial(OPEN)
    made.fail(OPEN, is_trial=True, is_last=False, was_asked=True)
    assert made.state(2 * OPEN - 0.01) == "open" and made.state(2 * OPEN) == "half-open"
    made.succeed(OPEN + 1, is_trial=True)  # a trial of the time before
    for _ in range(TRIALS - 1):
        made.succeed(2 * OPEN, is_trial=True)
    assert made.state(2 * OPEN) == "half-open", "all of them must be of this time"


def test_what_was_sent_before_it_opened_tells_nothing() -> None:
    """Requests that were under way end long after: neither do they close it, nor do they keep it open."""
    made = opened()
    for _ in range(10):
        made.succeed(OPEN, is_trial=False)
    assert fail(made, 10, OPEN) == "half-open"


def test_trials_that_nobody_judges_are_given_out_anew() -> None:
    """The client left, the worker died, or it is unclear whose fault it was."""
    made = opened()
    for _ in range(TRIALS):
        made.give_trial(OPEN)
    assert not made.has_trial(OPEN + PATIENCE - 0.01)
    assert [made.give_trial(OPEN + PATIENCE) for _ in range(TRIALS + 1)] == [True] * TRIALS + [False]


def test_the_long_sick_are_asked_less_often() -> None:
    made, now, trials = opened(), 0.0, 0
    while now < 600:
        now += 0.1
        if made.give_trial(now):
            made.fail(now, is_trial=True, is_last=False, was_asked=True)
            trials += 1
    assert SICK / OPEN - 2 <= trials - (600 - SICK) / LONG_OPEN <= SICK / OPEN + 2


def test_intervals_differ() -> None:
    drawn = [draw_jitter() for _ in range(200)]
    assert 1 - JITTER <= min(drawn) < 0.9 and 1.1 < max(drawn) <= 1 + JITTER
    made = Breaker(lambda: 1.1)
    fail(made, FAILURES)
    assert made.until == pytest.approx(1.1 * OPEN)


def test_f14_a_sick_endpoint_gets_few_requests_and_is_soon_back() -> None:
    """500 requests a second: sick from 2 s to 40 s, at most 5 reach it in any second while it is not closed."""
    made, reached, back = Breaker(draw_jitter), list[float](), 0.0
    for tick in range(60 * 500):
        now = tick / 500
        is_closed = made.state(now) == "closed"
        is_trial = not is_closed and made.give_trial(now)
        if not is_closed and not is_trial:
            continue
        if 2.0 <= now < 40.0:
            if is_trial:
                reached.append(now)
            made.fail(now, is_trial, is_last=True, was_asked=True)
        else:
            made.succeed(now, is_trial)
        if now >= 40.0 and not back and made.state(now) == "closed":
            back = now - 40.0
    assert max(sum(at <= other < at + 1 for other in reached) for at in reached) <= TRIALS
    assert len(reached) <= 38 / (OPEN * (1 - JITTER)) + 1
    assert 0 < back <= 2 * OPEN


@given(st.lists(st.tuples(st.sampled_from("gbut"), st.floats(0, 8)), max_size=100))
def test_never_more_than_its_trials_at_a_time(events: list[tuple[str, float]]) -> None:
    made, now, given_at = opened(), 0.0, list[float]()
    for kind, passes in events:
        now += passes
        was = made.state(now)
        if kind == "t":
            if made.give_trial(now):
                assert was == "half-open"
                given_at.append(now)
        elif kind == "g":
            made.succeed(now, is_trial=True)
        else:
            made.fail(now, is_trial=kind == "b", is_last=False, was_asked=True)
        if made.state(now) == "closed":
            given_at.clear()
        assert len([at for at in given_at if now - at < min(OPEN, PATIENCE)]) <= TRIALS

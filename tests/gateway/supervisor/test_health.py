"""Who is ejected, for how long, and why not: time is passed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.supervisor.breaker import FAILURES, LEAST, OPEN, TRIALS
from gateway.supervisor.health import PROBED, UNCLEAR_WINDOW, Health

A, B, C = "http://a", "http://b", "http://c"


def make(urls: list[str], healthy: int = 2, unhealthy: int = 3) -> Health:
    """Without dice."""
    return Health(urls, healthy, unhealthy, lambda: 1.0)


def fail(health: Health, url: str = A, times: int = FAILURES, now: float = 0.0, blame: str = "endpoint") -> bool:
    return [health.fail(url, blame, "acme", now) for _ in range(times)][-1]


def test_failures_in_a_row_take_it_out() -> None:
    health = make([A, B])
    assert not fail(health, times=FAILURES - 1)
    assert health.down(0) == ()
    assert fail(health, times=1), "there is something to tell"
    assert health.down(0) == (A,)


def test_a_good_answer_begins_the_row_anew() -> None:
    health = make([A, B])
    for _ in range(4):
        fail(health, times=FAILURES - 1)
        assert not health.succeed(A, 0)
    assert health.down(0) == ()
    fail(health, times=FAILURES - 1)
    assert health.down(0) == (A,), "twenty failures among twenty-four answers are enough all the same"


def test_it_comes_back_by_trials() -> None:
    health = make([A, B])
    fail(health, now=5.0)
    assert (health.down(5.0 + OPEN - 0.001), health.trials(5.0 + OPEN - 0.001)) == ((A,), ())
    assert not health.has_changed(5.0 + OPEN - 0.001)
    now = 5.0 + OPEN
    assert health.has_changed(now) and not health.has_changed(now), "noticed once"
    assert (health.down(now), health.trials(now)) == ((A,), (A,))
    assert [health.give_trial(A, now) for _ in range(TRIALS + 1)] == [True] * TRIALS + [False]
    assert health.has_changed(now) and health.trials(now) == ()
    for _ in range(TRIALS - 1):
        assert not health.succeed(A, now, is_trial=True)
    assert health.succeed(A, now, is_trial=True) and health.down(now) == ()


def test_the_last_endpoint_is_left_alone_where_much_fails() -> None:
    health = make([A, B])
    fail(health, A)
    fail(health, B, times=FAILURES)
    assert health.down(0) == (A,), "a real error tells more than none, as long as it is no flood"
    assert health.wait(0) == 0.0
    fail(health, B, times=LEAST, now=1.0)
    assert health.down(1.0) == (A, B)
    assert health.wait(1.0) == OPEN - 1.0
    assert health.wait(OPEN) == 0.0
    assert not health.give_trial("http://other", OPEN)


def test_who_was_not_asked_is_not_spared() -> None:
    health = make([A])
    for _ in range(100):
        health.fail(A, "endpoint", "acme", 0.0, was_asked=False)
    assert health.down(0) == ()


@pytest.mark.parametrize(
    ("seen", "ejected"),
    [
        ([("x", 0.0)] * 50, False),  # one consumer's requests may be what breaks it
        ([("x", 0.0), *[("y", 0.0)] * FAILURES], True),
        ([("x", 0.0), *[("y", UNCLEAR_WINDOW)] * 50], False),  # too long ago to be a second witness
        ([("x", 0.0), *[("y", UNCLEAR_WINDOW - 0.1)] * FAILURES], True),
    ],
)
def test_unclear_failures_count_once_two_consumers_see_them(seen: list[tuple[str, float]], ejected: bool) -> None:
    health = make([A, B])
    for consumer, now in seen:
        health.fail(A, "unclear", consumer, now)
    assert (health.down(seen[-1][1]) == (A,)) == ejected


def test_a_good_answer_ends_suspicion_too() -> None:
    health = make([A, B])
    health.fail(A, "unclear", "x", 0.0)
    health.succeed(A, 0.1)
    for _ in range(50):
        health.fail(A, "unclear", "y", 0.2)
    assert health.down(0.2) == ()


def test_probes_take_an_endpoint_down_and_up() -> None:
    health = make([A, B], healthy=2, unhealthy=3)
    assert [health.probe(A, good, 0.0) for good in (False, False, True, False, False)] == [False] * 5
    assert health.probe(A, False, 0.0) and health.down(0.0) == (A,)
    assert [health.probe(A, good, 0.0) for good in (True, False, True)] == [False] * 3
    assert health.down(1e9) == (A,), "only probes end it"
    assert health.probe(A, True, 0.0) and health.down(0.0) == ()


def test_what_is_probed_down_is_not_tried_out() -> None:
    health = make([A, B], healthy=1, unhealthy=1)
    fail(health)
    health.probe(A, False, 0.0)
    assert health.trials(OPEN) == () and not health.give_trial(A, OPEN)
    health.probe(B, False, 0.0)
    assert health.wait(OPEN) == PROBED
    health.probe(A, True, OPEN)
    assert health.down(OPEN) == (B,), "a good check ends it all"


def test_probes_may_take_the_last_one_down() -> None:
    health = make([A], unhealthy=1)
    assert health.probe(A, False, 0.0) and health.down(0.0) == (A,)


def test_what_is_not_configured_is_nobodys_business() -> None:
    health = make([A])
    assert not health.fail("http://other", "endpoint", "x", 0.0)
    assert not health.succeed("http://other", 0.0)


events = st.lists(
    st.tuples(
        st.sampled_from(["ok", "endpoint", "unclear", "trial"]), st.sampled_from([A, B, C]), st.sampled_from("xyz"),
        st.floats(0, 20),
    ),
    max_size=80,
)  # fmt: skip


@given(events)
def test_changes_are_told_exactly_when_they_are_true(events: list[tuple[str, str, str, float]]) -> None:
    health, now = make([A, B, C]), 0.0
    known: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    for kind, url, consumer, passes in events:
        now += passes
        if kind == "trial":
            health.give_trial(url, now)
            changed = health.has_changed(now)
        elif kind == "ok":
            changed = health.succeed(url, now, is_trial=True)
        else:
            changed = health.fail(url, kind, consumer, now, is_trial=True)
        seen = health.down(now), health.trials(now)
        assert changed == (seen != known)
        assert set(seen[1]) <= set(seen[0])
        known = seen

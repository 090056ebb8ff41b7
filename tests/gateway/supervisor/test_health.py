"""Who is ejected, for how long, and why not: time is passed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.supervisor.health import FAILURES, FIRST_EJECTION, LONGEST_EJECTION, UNCLEAR_WINDOW, Health

A, B, C = "http://a", "http://b", "http://c"


def fail(health: Health, url: str = A, times: int = FAILURES, now: float = 0.0, blame: str = "endpoint") -> bool:
    return [health.fail(url, blame, "acme", now) for _ in range(times)][-1]


def test_failures_in_a_row_eject() -> None:
    health = Health([A, B])
    assert not fail(health, times=FAILURES - 1)
    assert health.down(0) == ()
    assert fail(health, times=1), "the set of usable endpoints changed"
    assert health.down(0) == (A,)


def test_a_good_answer_begins_the_row_anew() -> None:
    health = Health([A, B])
    for _ in range(10):
        fail(health, times=FAILURES - 1)
        assert not health.succeed(A, 0)
    assert health.down(0) == ()


def test_an_ejection_ends_by_itself_and_is_noticed_once() -> None:
    health = Health([A, B])
    fail(health, now=5.0)
    assert health.next_change(5.0) == 5.0 + FIRST_EJECTION
    assert health.down(5.0 + FIRST_EJECTION - 0.001) == (A,)
    assert not health.has_changed(14.9)
    assert health.has_changed(15.0) and not health.has_changed(15.0)
    assert health.next_change(15.0) is None


def test_who_comes_back_is_on_probation() -> None:
    health, now = Health([A, B]), 0.0
    fail(health, now=now)
    for ejection in range(1, 8):
        now += min(LONGEST_EJECTION, FIRST_EJECTION * 2 ** (ejection - 1))
        assert health.has_changed(now) and health.down(now) == ()
        assert fail(health, times=1, now=now), "one failure is enough now"
        span = min(LONGEST_EJECTION, FIRST_EJECTION * 2**ejection)
        assert health.next_change(now) == now + span
    health.succeed(A, now + 1000)
    assert not fail(health, times=FAILURES - 1, now=now + 1000), "a good answer ends the probation"


def test_an_endpoint_may_be_dead_for_weeks() -> None:
    health, now = Health([A, B]), 0.0
    fail(health)
    for _ in range(5000):
        now += LONGEST_EJECTION
        fail(health, times=1, now=now)
        assert health.next_change(now) is not None and health.down(now) == (A,)
    assert (health.next_change(now) or 0) - now == LONGEST_EJECTION


def test_the_last_endpoint_is_not_ejected() -> None:
    """A real error tells a client more than `no endpoint`."""
    health = Health([A, B])
    fail(health, A)
    fail(health, B, times=50)
    assert health.down(0) == (A,)
    assert not fail(Health([A]), times=50)
    fail(health, B, times=1, now=FIRST_EJECTION)  # A is back
    assert health.down(FIRST_EJECTION) == (B,)


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
    health = Health([A, B])
    for consumer, now in seen:
        health.fail(A, "unclear", consumer, now)
    assert (health.down(seen[-1][1]) == (A,)) == ejected


def test_a_good_answer_ends_suspicion_too() -> None:
    health = Health([A, B])
    health.fail(A, "unclear", "x", 0.0)
    health.succeed(A, 0.1)
    for _ in range(50):
        health.fail(A, "unclear", "y", 0.2)
    assert health.down(0.2) == ()


def test_probes_take_an_endpoint_down_and_up() -> None:
    health = Health([A, B], healthy=2, unhealthy=3)
    assert [health.probe(A, good, 0.0) for good in (False, False, True, False, False)] == [False] * 5
    assert health.probe(A, False, 0.0) and health.down(0.0) == (A,)
    assert [health.probe(A, good, 0.0) for good in (True, False, True)] == [False] * 3
    assert health.down(1e9) == (A,), "only probes end it"
    assert health.probe(A, True, 0.0) and health.down(0.0) == ()


def test_probes_may_take_the_last_one_down() -> None:
    health = Health([A], unhealthy=1)
    assert health.probe(A, False, 0.0) and health.down(0.0) == (A,)


def test_what_is_not_configured_is_nobodys_business() -> None:
    health = Health([A])
    assert not health.fail("http://other", "endpoint", "x", 0.0)
    assert not health.succeed("http://other", 0.0)


events = st.lists(
    st.tuples(
        st.sampled_from(["ok", "endpoint", "unclear"]), st.sampled_from([A, B, C]), st.sampled_from("xyz"),
        st.floats(0, 400),
    ),
    max_size=80,
)  # fmt: skip


@given(events)
def test_observations_alone_always_leave_somebody(events: list[tuple[str, str, str, float]]) -> None:
    health, now, known = Health([A, B, C]), 0.0, tuple[str, ...]()
    for kind, url, consumer, passes in events:
        now += passes
        changed = health.succeed(url, now) if kind == "ok" else health.fail(url, kind, consumer, now)
        down = health.down(now)
        assert len(down) < 3
        assert changed == (down != known), "told exactly when it is true"
        known = down

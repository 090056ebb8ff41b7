"""The arithmetic of rates against fractions."""

from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger import gcra

paces = st.builds(gcra.pace, st.integers(1, 10**8), st.integers(1, 10**10), st.integers(1, 10**6))


@given(count=st.integers(1, 10**9), period_us=st.integers(1, 10**13), burst=st.integers(1, 10**9))
def test_a_pace_is_exactly_its_rate(count: int, period_us: int, burst: int) -> None:
    pace = gcra.pace(count, period_us, burst)
    assert Fraction(pace.step, pace.scale) == Fraction(period_us, 1000 * count)
    assert Fraction(pace.burst, pace.scale) == Fraction(burst * period_us, count)


@given(old=paces, new=paces, tat=st.integers(0, 10**24))
def test_another_pace_keeps_the_moment_up_to_one_tick(old: gcra.Pace, new: gcra.Pace, tat: int) -> None:
    assert gcra.rescale(tat, old, new) == ceil(Fraction(tat, old.scale) * new.scale)


@given(pace=paces, backlog=st.integers(0, 10**15), cost=st.integers(1, 10**9))
def test_a_wait_is_the_first_microsecond_at_which_the_cost_fits(pace: gcra.Pace, backlog: int, cost: int) -> None:
    cost = min(cost, pace.burst // pace.step)
    wait = gcra.wait_us(pace, backlog, cost)
    tat = backlog  # as of microsecond 0
    assert gcra.measure_backlog(pace, tat, wait) + cost * pace.step <= pace.burst
    assert wait == 0 or gcra.measure_backlog(pace, tat, wait - 1) + cost * pace.step > pace.burst

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.analytics.histogram import PLACES, STEPS, WIDTH, find_percentile, find_step, unpack


def gather(durations: list[int]) -> list[int]:
    columns = [0] * WIDTH
    for duration in durations:
        at, one = PLACES[find_step(duration)]
        columns[at] += one
    return columns


@given(st.lists(st.integers(0, 2**40)), st.lists(st.integers(0, 2**40)))
def test_sums_of_columns_are_sums_of_counts(some: list[int], others: list[int]) -> None:
    added = [one + other for one, other in zip(gather(some), gather(others), strict=True)]
    counts = unpack(added)
    assert counts == unpack(gather(some + others))
    assert sum(counts) == len(some) + len(others) and len(counts) == STEPS


def test_a_column_holds_as_many_as_it_says() -> None:
    (at, low), (same, high) = PLACES[6], PLACES[7]
    assert at == same
    columns = [0] * WIDTH
    columns[at] = (2**31 - 1) * (low + high)
    assert columns[at] < 2**63
    assert unpack(columns)[6:8] == [2**31 - 1] * 2


@pytest.mark.parametrize("percent", [1, 50, 90, 95, 99, 99.9])
def test_percentiles_are_near_the_true_ones(percent: float) -> None:
    chance = random.Random(7)
    durations = sorted(int(chance.lognormvariate(13, 1.2)) for _ in range(20_000))
    true = durations[int(len(durations) * percent / 100)]
    assert find_percentile(unpack(gather(durations)), percent) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("duration", [1_000, 1_001, 1_189, 30_000, 999_999, 60_000_000])
def test_a_percentile_is_off_by_a_step_at_most(duration: int) -> None:
    counts = unpack(gather([duration] * 100))
    for percent in (0, 50, 100):
        told = find_percentile(counts, percent)
        assert told is not None and duration / 2**0.25 <= told <= duration * 2**0.25


def test_the_ends() -> None:
    assert find_percentile([0] * STEPS, 50) is None
    assert 0 <= (find_percentile(unpack(gather([3, 4])), 99) or -1) <= 1_000
    assert (find_percentile(unpack(gather([10**12])), 50) or 0) > 700_000_000
    assert find_step(0) == find_step(999) == 0 and find_step(1000) == 1 and find_step(2**62) == STEPS - 1


def test_percentiles_rise() -> None:
    counts = unpack(gather([random.Random(3).randrange(10**8) for _ in range(500)]))
    told = [find_percentile(counts, percent) or 0 for percent in range(101)]
    assert told == sorted(told)

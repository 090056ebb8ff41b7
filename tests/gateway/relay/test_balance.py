from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.relay.balance import Candidate, RetryBudget, pick_least_inflight, pick_weighted

Pick = Callable[..., Candidate | None]


def candidates(*weights: int) -> list[Candidate]:
    return [Candidate(f"http://{name}", weight) for name, weight in zip("abcdefgh", weights, strict=False)]


def turns(made: list[Candidate], count: int) -> str:
    picked = [pick_weighted(made, ()) for _ in range(count)]
    return "".join(candidate.url[-1] for candidate in picked if candidate is not None)


def test_weights_are_interleaved_as_nginx_does() -> None:
    assert turns(candidates(5, 1, 1), 7) == "aabacaa"
    assert turns(candidates(1, 1, 1), 6) == "abcabc"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_every_round_gives_each_its_weight(weights: list[int], rounds: int) -> None:
    made = candidates(*weights)
    counts = Counter(turns(made, rounds * sum(weights)))
    assert [counts[candidate.url[-1]] for candidate in made] == [rounds * weight for weight in weights]
    assert all(candidate.current == 0 for candidate in made)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(1, 60))
def test_no_endpoint_is_ever_ahead_by_more_than_a_turn(weights: list[int], count: int) -> None:
    counts = Counter(turns(candidates(*weights), count))
    for name, weight in zip("abcdef", weights, strict=False):
        assert abs(counts[name] - count * weight / sum(weights)) <= 1


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 20)), min_size=1, max_size=6))
def test_the_fewest_for_its_weight(loads: list[tuple[int, int]]) -> None:
    made = candidates(*(weight for weight, _ in loads))
    for candidate, (_, inflight) in zip(made, loads, strict=True):
        candidate.inflight = inflight
    picked = pick_least_inflight(made, ())
    assert picked is not None
    assert picked.inflight / picked.weight == min(inflight / weight for weight, inflight in loads)


def test_ties_go_round() -> None:
    made = candidates(1, 1, 1)
    picked = [pick_least_inflight(made, ()) for _ in range(6)]
    assert Counter(candidate.url for candidate in picked if candidate) == dict.fromkeys((c.url for c in made), 2)


@pytest.mark.parametrize("pick", [pick_weighted, pick_least_inflight])
def test_what_is_down_or_was_tried_is_left_out(pick: Pick) -> None:
    made = candidates(1, 9, 9)
    a, b, c = (candidate.url for candidate in made)
    for _ in range(5):
        assert pick(made, {b}, {c}) is made[0]
    assert pick(made, {a, b, c}) is None
    assert pick(made, {a}, {b, c}) is None
    assert pick([], ()) is None
    assert pick(made[:1], {a}) is None


def test_an_endpoint_that_comes_back_has_not_saved_up_turns() -> None:
    made = candidates(1, 1)
    for _ in range(100):
        pick_weighted(made, {made[0].url})
    assert Counter(turns(made, 10)) == {"a": 5, "b": 5}


@pytest.mark.parametrize(("live", "allowed"), [(0, 3), (10, 3), (30, 3), (31, 4), (100, 10), (1000, 100)])
def test_retries_are_a_tenth_of_what_is_live_or_three(live: int, allowed: int) -> None:
    budget = RetryBudget()
    budget.live = live
    assert [budget.take() for _ in range(allowed + 1)] == [True] * allowed + [False]
    budget.give()
    assert budget.take() and not budget.take()

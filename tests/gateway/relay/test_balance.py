import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.relay.balance import (
    MEMORY,
    OVERLOAD,
    SLACK,
    Candidate,
    PowerOfTwo,
    RetryBudget,
    pick_first,
    pick_hashed,
    pick_least_inflight,
    pick_weighted,
)

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


def by_key(made: Sequence[Candidate], down: Collection[str], tried: Collection[str] = ()) -> Candidate | None:
    return pick_hashed(made, down, tried, b"key")


@pytest.mark.parametrize("pick", [pick_weighted, pick_least_inflight, pick_first, PowerOfTwo(lambda: 0.0), by_key])
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


def test_the_others_stand_by() -> None:
    made = candidates(1, 9, 9)
    made[0].inflight = 1000
    assert pick_first(made, ()) is made[0]
    assert pick_first(made, {made[0].url}) is made[1]


# --- power of two choices


def test_of_two_the_quicker_one() -> None:
    """A tenfold latency gets the odd draws in which it meets only itself, and what is idle until it fades."""
    made, now = candidates(1, 1, 1), [0.0]
    pick = PowerOfTwo(lambda: now[0], random.Random(1).randrange)
    for candidate, latency in zip(made, (0.1, 0.1, 1.0), strict=True):
        candidate.learn(latency, 0.0)
    picked = Counter(candidate.url[-1] for _ in range(3000) if (candidate := pick(made, ())))
    assert picked["c"] == 0 and abs(picked["a"] - picked["b"]) < 300
    now[0] = 3 * MEMORY
    for candidate in made[:2]:
        candidate.learn(0.1, now[0])
    assert any(pick(made, ()) is made[2] for _ in range(20)), "a slow one is tried again"


def test_what_is_in_flight_counts_as_latency_does() -> None:
    made = candidates(1, 1)
    pick = PowerOfTwo(lambda: 0.0, random.Random(1).randrange)
    for candidate, latency in zip(made, (0.1, 0.4), strict=True):
        candidate.learn(latency, 0.0)
    for _ in range(500):
        picked = pick(made, ())
        assert picked is not None
        picked.inflight += 1
    assert 390 <= made[0].inflight <= 410


def test_weights_and_unknown_latencies() -> None:
    made = candidates(3, 1)
    pick = PowerOfTwo(lambda: 0.0, random.Random(1).randrange)
    made[1].learn(0.001, 0.0)  # nothing is known of the other one: only what is in flight counts
    for _ in range(400):
        picked = pick(made, ())
        assert picked is not None
        picked.inflight += 1
    assert [candidate.inflight for candidate in made] == [300, 100]


def test_a_latency_is_averaged_over_time_and_fades() -> None:
    candidate = Candidate("http://a")
    assert candidate.expected(0.0) is None
    candidate.learn(1.0, 100.0)
    for _ in range(1000):
        candidate.learn(5.0, 100.0)  # however many, they are of one moment
    assert candidate.latency == pytest.approx(1.0)
    candidate.learn(5.0, 100.0 + 10 * MEMORY)
    assert candidate.latency == pytest.approx(5.0, rel=1e-3)
    assert candidate.expected(100.0 + 11 * MEMORY) == pytest.approx(5.0 / 2.718, rel=1e-3)


# --- hash


def owners(made: Sequence[Candidate], keys: int = 3000, down: Collection[str] = ()) -> list[str]:
    picked = [pick_hashed(made, down, (), b"key %d" % number) for number in range(keys)]
    return [candidate.url for candidate in picked if candidate is not None]


def test_keys_spread_by_weight() -> None:
    counts = Counter(owners(candidates(1, 1, 2), 8000))
    assert [round(counts[f"http://{name}"] / 2000, 1) for name in "abc"] == pytest.approx([1.0, 1.0, 2.0], abs=0.15)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=8), st.integers(0, 7))
def test_when_one_leaves_only_its_own_keys_move(weights: list[int], leaving: int) -> None:
    made = candidates(*weights)
    gone = made[leaving % len(made)].url
    before, after = owners(made, 200), owners(made, 200, {gone})
    assert all(b == a for b, a in zip(before, after, strict=True) if b != gone)
    assert gone not in after
    assert owners([c for c in made if c.url != gone], 200) == after, "down or not in the file is the same"


def test_a_key_belongs_to_the_same_endpoint_for_ever() -> None:
    """Workers, restarts and versions agree: these are facts of the hash, written down."""
    assert "".join(url[-1] for url in owners(candidates(1, 1, 1), 12)) == "cbccaacabccb"
    made = candidates(1, 1, 1)
    assert owners(made, 50) == owners(list(reversed(made)), 50), "the order in the file does not matter"


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.integers(1, 200))
def test_no_endpoint_gets_much_more_than_its_share_of_one_key(weights: list[int], count: int) -> None:
    made = candidates(*weights)
    for number in range(1, count + 1):
        picked = by_key(made, ())
        assert picked is not None
        picked.inflight += 1
        fair = OVERLOAD * number * picked.weight / sum(weights)
        assert picked.inflight <= max(SLACK * picked.weight, ceil(fair))


@pytest.mark.parametrize(("live", "allowed"), [(0, 3), (10, 3), (30, 3), (31, 4), (100, 10), (1000, 93)])
def test_retries_are_a_tenth_of_what_is_live_or_three(live: int, allowed: int) -> None:
    budget = RetryBudget(lambda: 0.0)
    for _ in range(live):
        budget.enter()
    assert [budget.take() for _ in range(allowed + 1)] == [True] * allowed + [False]


@pytest.mark.parametrize("live", [1, 10, 100, 1000])
def test_f15_a_full_outage_is_met_with_a_tenth_more(live: int) -> None:
    """However many requests are live at a time, and though each of them fails and each retry ends at once."""
    now, retries = 0.0, 0
    budget = RetryBudget(lambda: now)
    for _ in range(live):
        budget.enter()
    for _ in range(3000):
        now += 0.001
        if budget.take():
            retries += 1
            budget.give()
        budget.leave()
        budget.enter()
    assert 200 <= retries <= 0.1 * (3000 + live)


def test_a_lone_request_is_sent_again() -> None:
    now = 0.0
    budget = RetryBudget(lambda: now)
    for _ in range(20):
        now += 60.0
        budget.enter()
        assert budget.take()
        budget.give()
        budget.leave()


def test_what_reached_nobody_needs_no_pay() -> None:
    budget = RetryBudget(lambda: 0.0)
    for _ in range(100):
        assert budget.take(was_sent=False)
        assert budget.pay(was_sent=False)
        budget.give()
    assert [budget.take(was_sent=False) for _ in range(4)] == [True] * 3 + [False], "at once they are bounded as well"


def test_each_further_server_is_paid_for() -> None:
    budget = RetryBudget(lambda: 0.0)
    assert budget.take()
    assert [budget.pay() for _ in range(3)] == [True, True, False]


def test_a_retry_that_is_under_way_counts() -> None:
    now = 0.0
    budget = RetryBudget(lambda: now)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    now = 1000.0
    assert not budget.take(), "three are under way"
    budget.give()
    assert budget.take()

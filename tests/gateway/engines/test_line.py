"""Fairness between the consumers of a class: equal tokens, whatever the number and the size of requests."""

import heapq
import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engines.admission import Admission, Claim
from gateway.engines.line import Line, Ticket

_ids = itertools.count()


class Crowd:
    """Clients of consumers that each ask again as soon as they are answered. Time is pure.

    `steady`: every request takes the same time; else each token does.
    """

    def __init__(self, slots: int, steady: bool = False) -> None:
        self._steady = steady
        self.tokens = Counter[str]()
        self.grants: list[str] = []
        self._admission = Admission(slots, 10_000)
        self._ends: list[tuple[float, int, Ticket]] = []
        self._sizes: dict[str, tuple[int, int]] = {}  # true tokens, and the estimate
        self._now = 0.0

    def add(self, consumer: str, clients: int, tokens: int, estimate: int = 0) -> None:
        self._sizes[consumer] = tokens, estimate or tokens
        for _ in range(clients):
            self._ask(consumer)

    def remove(self, consumer: str) -> None:
        del self._sizes[consumer]
        for ticket, entry in list(self._admission.waiting.items()):
            if entry.claim.consumer == consumer:
                self._admission.leave(ticket, self._now)

    def run(self, requests: int) -> None:
        for _ in range(requests):
            self._now, _, ticket = heapq.heappop(self._ends)
            consumer = self._admission.held[ticket].claim.consumer
            true = self._sizes.get(consumer, (1, 1))[0]
            self.tokens[consumer] += true
            self._admission.leave(ticket, self._now, true)
            self._serve()
            if consumer in self._sizes:
                self._ask(consumer)
            self._serve()

    def _ask(self, consumer: str) -> None:
        ticket = Ticket(consumer, str(next(_ids)))
        if self._admission.ask(ticket, self._now, Claim(consumer=consumer, tokens=self._sizes[consumer][1])) is True:
            self._begin(ticket)

    def _serve(self) -> None:
        for ticket in self._admission.grant(self._now):
            self._begin(ticket)

    def _begin(self, ticket: Ticket) -> None:
        self.grants.append(ticket.writer)
        seconds = 1 if self._steady else self._sizes.get(ticket.writer, (1, 1))[0]
        heapq.heappush(self._ends, (self._now + seconds, next(_ids), ticket))


sizes = st.integers(1, 100)


@given(
    sizes,
    sizes,
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 4),
    st.sampled_from([0, 1, 1000]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_equal_tokens_whatever_the_requests(
    one: int, other: int, many: int, few: int, slots: int, estimate: int, steady: bool
) -> None:
    """Both always have somebody waiting; what was thought of a request at first may be wrong."""
    crowd = Crowd(slots, steady)
    crowd.add("one", many + slots, one, estimate)
    crowd.add("other", few + slots, other, estimate)
    enough = 100 * slots * max(one, other)  # a first guess that is wrong costs somebody a few turns, once
    while min(crowd.tokens["one"], crowd.tokens["other"]) < enough and len(crowd.grants) < 100_000:
        crowd.run(20)
    least, most = sorted((crowd.tokens["one"], crowd.tokens["other"]))
    assert most <= 1.1 * least, (dict(crowd.tokens), one, other)


def test_three_and_one_that_comes_and_goes() -> None:
    crowd = Crowd(2)
    for consumer, tokens in (("a", 5), ("b", 50), ("c", 20)):
        crowd.add(consumer, 6, tokens)
    for _ in range(20):
        crowd.add("guest", 5, 30)
        crowd.run(40)
        crowd.remove("guest")
        crowd.run(60)
    regulars = [crowd.tokens[consumer] for consumer in "abc"]
    assert max(regulars) <= 1.1 * min(regulars)
    assert crowd.tokens["guest"] <= 1.1 * min(regulars)


@pytest.mark.parametrize("alone", [10, 5000])
def test_idleness_earns_nothing(alone: int) -> None:
    """Who has worked alone for long does not wait for one who comes new, nor does the new one wait for him."""
    crowd = Crowd(1)
    crowd.add("old", 10, 10)
    crowd.run(alone)
    crowd.add("new", 10, 10)
    begun = len(crowd.grants)
    crowd.run(100)
    shares = Counter(crowd.grants[begun : begun + 20])
    assert 8 <= shares["new"] <= 12
    crowd.remove("old")
    crowd.run(5000)
    crowd.add("old", 10, 10)
    begun = len(crowd.grants)
    crowd.run(100)
    assert 8 <= Counter(crowd.grants[begun : begun + 20])["old"] <= 12


def test_one_client_with_large_requests_takes_no_more_than_its_share() -> None:
    """He waits only now and then, and what he had is not forgotten meanwhile."""
    crowd = Crowd(1)
    crowd.add("large", 1, 1000)
    crowd.add("small", 20, 10)
    crowd.run(3000)
    assert crowd.tokens["large"] == pytest.approx(crowd.tokens["small"], rel=0.1)


def test_what_was_had_while_there_was_enough_is_no_debt() -> None:
    """One works a lot beside one who holds his slot for long; then a third comes, and there is not enough any more."""
    line = Line()
    line.take("slow", 1000)
    for _ in range(100):
        line.take("busy", 1000)
        line.settle("busy", 1000, 1000)
    for number in range(50):
        line.join(Ticket("busy", str(number)), "busy", 1000)
        line.join(Ticket("new", str(number)), "new", 1000)
    served = Counter[str]()
    for _ in range(20):
        ticket = line.first()
        served[ticket.writer] += 1
        line.leave(ticket, ticket.writer)
        line.take(ticket.writer, 1000)
        line.settle(ticket.writer, 1000, 1000)
    assert served["busy"] >= 7


def test_newcomers_without_end_starve_nobody() -> None:
    """Each asks once, and is served before those who have had something; yet time passes for these as well."""
    line = Line()
    for _ in range(3):
        line.take("debtor", 100)
        line.settle("debtor", 100, 100)
        line.take("other", 1)
        line.settle("other", 1, 1)
    mine = Ticket("debtor", "x")
    line.join(mine, "debtor", 100)
    for number in range(5000):
        line.join(Ticket("new", str(number)), f"new-{number}", 10)
        line.join(Ticket("newer", str(number)), f"newer-{number}", 10)
        first = line.first()
        if first == mine:
            break
        consumer = f"{first.writer}-{first.request}"
        line.leave(first, consumer)
        line.take(consumer, 10)
        line.settle(consumer, 10, 10)
    assert line.first() == mine


def test_accounts_of_the_idle_are_few() -> None:
    line = Line()
    for number in range(10_000):
        line.take(str(number), 5)
        line.settle(str(number), 5, 5)
    assert len(line._accounts) < 1100

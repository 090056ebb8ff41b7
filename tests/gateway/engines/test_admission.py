"""Slots and queue without a clock: in order, fair, within bounds, nobody forgotten."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engines.admission import Admission, Claim, Full, Ticket
from gateway.priority import PRIORITIES, Priority

A, B, C, D, E = (Ticket("w1", name) for name in "abcde")
LOW, HIGH, CRITICAL = (Claim(priority) for priority in ("low", "high", "critical"))


def test_slots_are_granted_in_order() -> None:
    admission = Admission(slots=1, bound=10)
    assert [admission.ask(ticket, 0) for ticket in (A, B, C)] == [True, False, False]
    assert admission.grant(0) == []
    admission.leave(A, 1)
    assert admission.grant(1) == [B]
    admission.leave(B, 2)
    assert admission.grant(2) == [C]


def test_one_who_comes_later_never_passes() -> None:
    admission = Admission(slots=1, bound=10)
    admission.ask(A, 0)
    admission.ask(B, 0)
    admission.leave(A, 0)
    assert admission.ask(C, 0) is False  # a slot is free, but B was first
    assert admission.grant(0) == [B]


def test_queue_is_bounded_and_honest() -> None:
    admission = Admission(slots=2, bound=1)
    admission.ask(A, 0)
    admission.ask(B, 0)
    assert admission.ask(C, 0) is False
    assert admission.ask(D, 0) == Full(ahead=1, wait=1.0)  # 2 x 1 s / 2 slots


def test_expected_wait_learns() -> None:
    admission = Admission(slots=1, bound=10)
    for start in range(0, 1000, 10):
        admission.ask(A, start)
        admission.leave(A, start + 9)
    assert 8.9 < admission.expected_wait() < 9.1


def test_no_bound_of_slots() -> None:
    admission = Admission(slots=0, bound=0)
    assert all(admission.ask(Ticket("w1", str(n)), 0) for n in range(1000))


def test_leaving_the_queue() -> None:
    admission = Admission(slots=1, bound=10)
    for ticket in (A, B, C):
        admission.ask(ticket, 0)
    admission.leave(B, 0)
    admission.leave(A, 0)
    admission.leave(A, 0)  # twice is well
    assert admission.grant(0) == [C]


def test_who_holds_a_slot_and_waits_for_another_leaves_both() -> None:
    """Its first try lingers in the engine, and it has turned to another model of the same backend."""
    admission = Admission(slots=1, bound=10)
    admission.ask(A, 0)
    assert [admission.ask(ticket, 0) for ticket in (A, B)] == [False, False]
    admission.leave(A, 1)
    assert list(admission.waiting) == [B] and admission.grant(1) == [B]


def test_higher_classes_are_first() -> None:
    admission = Admission(slots=1, bound=10)
    admission.ask(A, 0)
    for ticket, claim in ((B, LOW), (C, Claim()), (D, CRITICAL), (E, HIGH)):
        admission.ask(ticket, 0, claim)
    assert admission.lengths() == {"critical": 1, "high": 1, "normal": 1, "low": 1}
    order = []
    for _ in range(4):
        admission.leave(next(iter(admission.held)), 1)
        order += admission.grant(1)
    assert order == [D, E, C, B]


@pytest.mark.parametrize(
    ("busy", "waiting", "slots"),
    [("high", "low", 16), ("critical", "low", 24), ("critical", "high", 8), ("normal", "low", 8)],
)
def test_a_class_that_is_passed_over_rises(busy: Priority, waiting: Priority, slots: int) -> None:
    """Beside as much work of a higher class as fits, the lower one has its share."""
    admission = Admission(slots=1, bound=10)
    names = (Ticket(busy, str(n)) for n in itertools.count())
    others = (Ticket(waiting, str(n)) for n in itertools.count())
    for _ in range(3):
        admission.ask(next(names), 0, Claim(busy))
    admission.ask(next(others), 0, Claim(waiting))
    admission.ask(next(others), 0, Claim(waiting))
    granted = []
    for _ in range(200):
        admission.leave(next(iter(admission.held)), 0)
        [ticket] = admission.grant(0)
        granted.append(ticket.writer)
        admission.ask(next(names if ticket.writer == busy else others), 0, Claim(ticket.writer))  # type: ignore[arg-type]
    turns = [at for at, name in enumerate(granted) if name == waiting]
    assert turns[0] == slots and {b - a for a, b in itertools.pairwise(turns)} == {slots + 1}


@given(st.lists(st.sampled_from(PRIORITIES), min_size=1, max_size=400))
def test_no_class_waits_for_more_than_27_slots(coming: list[Priority]) -> None:
    admission = Admission(slots=1, bound=10_000)
    admission.ask(A, 0)
    waited = Counter[str]()
    for number, priority in enumerate([*coming, *PRIORITIES * 10]):
        admission.ask(Ticket("w", str(number)), 0, Claim(priority))
        admission.ask(Ticket("v", str(number)), 0, CRITICAL)  # there is always one
        admission.leave(next(iter(admission.held)), 0)
        before = admission.lengths()
        [ticket] = admission.grant(0)
        for name in PRIORITIES:
            waited[name] = waited[name] + 1 if before[name] == admission.lengths()[name] and before[name] else 0
        assert max(waited.values()) <= 27
        assert ticket in admission.held


@given(st.integers(1, 4), st.integers(1, 60))
def test_high_waits_for_one_slot_however_much_low_there_is(slots: int, crowd: int) -> None:
    admission = Admission(slots, bound=100)
    for number in range(crowd + slots):
        admission.ask(Ticket("low", str(number)), 0, LOW)
    for number in range(60):
        admission.leave(next(iter(admission.held)), 0)
        admission.grant(0)
        admission.ask(Ticket("more", str(number)), 0, LOW)
        if number % 3 == 0:
            assert admission.ask(Ticket("high", str(number)), 0, HIGH) is False
            admission.leave(next(t for t in admission.held if t.writer != "high"), 0)
            assert admission.grant(0) == [Ticket("high", str(number))]
            admission.ask(Ticket("again", str(number)), 0, LOW)


def test_a_full_queue_makes_room_for_higher_classes() -> None:
    admission = Admission(slots=1, bound=3)
    admission.ask(A, 0)
    for ticket in (B, C, D):
        admission.ask(ticket, 0, LOW)
        assert admission.crowd_out(LOW) is None, "nobody is less entitled"
    assert isinstance(admission.ask(E, 0, HIGH), Full)
    assert admission.refuses(LOW) == admission.foresee(LOW) and admission.refuses(HIGH) is None
    found = admission.crowd_out(HIGH)
    assert found is not None and found.ticket == D, "the youngest"
    assert admission.ask(E, 0, HIGH) is False
    assert list(admission.waiting) == [B, C, E]
    assert admission.crowd_out(LOW) is None


def test_a_full_queue_is_shared_by_its_consumers() -> None:
    admission = Admission(slots=1, bound=4)
    admission.ask(A, 0)
    for number in range(4):
        admission.ask(Ticket("many", str(number)), 0, Claim(consumer="many"))
    few = Claim(consumer="few")
    for number in (1, 2):
        found = admission.crowd_out(few)
        assert found is not None and found.ticket == Ticket("many", str(4 - number))
        assert admission.ask(Ticket("few", str(number)), 0, few) is False
    assert admission.crowd_out(few) is None, "they have half each"
    assert admission.crowd_out(Claim(consumer="many")) is None


def test_what_waiting_means() -> None:
    admission = Admission(slots=2, bound=10)
    for claim, seconds in ((HIGH, 2.0), (LOW, 10.0)):
        for number in range(100):
            ticket = Ticket(claim.priority, str(number))
            admission.ask(ticket, 0, claim)
            admission.leave(ticket, seconds)
    admission.ask(A, 0, LOW)
    admission.ask(B, 0, LOW)
    admission.ask(C, 0, HIGH)
    admission.ask(D, 1, LOW)
    assert admission.foresee(HIGH).ahead == 1
    assert admission.foresee(HIGH).wait == pytest.approx((2 + 10) / 2, 1e-3)
    assert (admission.foresee(LOW, D).ahead, admission.foresee(LOW).ahead) == (1, 2)
    assert admission.foresee(LOW).wait == pytest.approx((2 + 10 + 10) / 2, 1e-3)
    assert (admission.oldest_wait(5), Admission(1, 1).oldest_wait(5)) == (5, 0)


def test_a_class_that_has_its_turn_is_one_request_ahead() -> None:
    admission = Admission(slots=1, bound=100)
    for ticket in (A, B):
        admission.ask(ticket, 0, HIGH)
    for number in range(50):
        admission.ask(Ticket("low", str(number)), 0, LOW)
    for number in range(16):
        admission.leave(next(iter(admission.held)), 1)
        assert admission.foresee(HIGH).ahead == 1
        assert admission.grant(1)[0].writer != "low"
        admission.ask(Ticket("high", str(number)), 0, HIGH)
    assert admission.foresee(HIGH).ahead == 2
    admission.leave(next(iter(admission.held)), 1)
    assert admission.grant(1)[0].writer == "low"


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 50)), min_size=1, max_size=30))
def test_nobody_waits_longer_than_he_was_told(others: list[tuple[str, int]]) -> None:
    """As long as requests take what they were thought to take, and nobody comes."""
    admission = Admission(slots=1, bound=100)
    admission.ask(A, 0)
    tickets = [Ticket(name, str(n)) for n, (name, _) in enumerate(others)]
    claims = [Claim(consumer=name, tokens=tokens) for name, tokens in others]
    for ticket, claim in zip(tickets, claims, strict=True):
        admission.ask(ticket, 0, claim)
    told = {t: admission.foresee(claim, t).ahead for t, claim in zip(tickets, claims, strict=True)}
    for turn in range(len(tickets)):
        admission.leave(next(iter(admission.held)), 1)
        [ticket] = admission.grant(1)
        assert turn <= told[ticket]


_claims = st.builds(
    Claim, st.sampled_from(PRIORITIES), st.sampled_from(["x", "y", "z"]), st.sampled_from([1, 10, 1000])
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), _claims),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("resize"), st.integers(1, 4)),
    ),
    max_size=80,
)


@given(_steps, st.integers(1, 3), st.integers(0, 6))
@settings(max_examples=300)
def test_what_always_holds(steps: list[tuple[str, Claim | int]], slots: int, bound: int) -> None:
    admission = Admission(slots, bound)
    claims: dict[Ticket, Claim] = {}
    waiting: list[Ticket] = []
    served: set[Ticket] = set()
    for number, (_, what) in enumerate(steps):
        ticket = Ticket("w", str(number))
        if isinstance(what, Claim):
            claims[ticket] = what
            room = len(admission.waiting) < bound
            found = admission.crowd_out(what)
            if found is not None:
                assert not room
                waiting.remove(found.ticket)
                assert PRIORITIES.index(found.claim.priority) >= PRIORITIES.index(what.priority)
            answer = admission.ask(ticket, number, what)
            if answer is True:
                served.add(ticket)
            elif answer is False:
                waiting.append(ticket)
            else:
                assert len(waiting) >= bound and found is None
        elif steps[number][0] == "resize":
            admission.slots = what
        else:
            known = [*admission.held, *admission.waiting, Ticket("nobody", "")]
            left = known[what % len(known)]
            admission.leave(left, number, used=what)
            waiting = [other for other in waiting if other != left]
        room = admission.slots - len(admission.held)
        granted = admission.grant(number)
        assert len(granted) <= max(0, room) and not served & set(granted), "none is granted twice"
        served |= set(granted)
        for chosen in granted:
            same = [t for t in waiting if _line(claims[t]) == _line(claims[chosen])]
            assert same[0] == chosen, "in order within class and consumer"
            waiting.remove(chosen)
        assert list(admission.waiting) == waiting, "nobody is lost"
        assert sum(admission.lengths().values()) == len(waiting)
        assert not admission.waiting or len(admission.held) >= admission.slots, "no slot is left unused"


def _line(claim: Claim) -> tuple[str, str]:
    return claim.priority, claim.consumer

"""Slots and queue without a clock: first come, first served, within bounds, nobody forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.engines.admission import Admission, Full, Ticket

A, B, C, D = (Ticket("w1", name) for name in "abcd")


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


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans())), st.integers(1, 3), st.integers(0, 3))
def test_never_more_than_allowed_and_nobody_starves(steps: list[tuple[int, bool]], slots: int, bound: int) -> None:
    admission = Admission(slots, bound)
    served: list[Ticket] = []
    came: list[Ticket] = []
    for number, comes in steps:
        ticket = Ticket("w", str(number))
        if not comes:
            admission.leave(ticket, 0)
            if ticket not in served:
                came = [other for other in came if other != ticket]
        elif ticket not in came and ticket not in admission.held:
            answer = admission.ask(ticket, 0)
            if not isinstance(answer, Full):
                came.append(ticket)
                served += [ticket] * answer
        granted = admission.grant(0)
        served += granted
        came = [other for other in came if other not in served]
        served = [other for other in served if other in admission.held]
        assert len(admission.held) <= slots
        assert len(admission.waiting) <= bound
        assert list(admission.waiting) == came  # in the order in which they came
        assert len(admission.held) == slots or not admission.waiting

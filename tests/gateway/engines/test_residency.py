"""Who is in memory, without a clock: the table of cases, and worlds of random events in which the promises hold."""

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engines.residency import Decision, Demand, Phase, Refusal, Tenant, decide
from tests.gateway.engines.world import World

A, B, C = "abc"


def there(name: str, memory: int = 4, **more: Any) -> Tenant:
    return Tenant(name=name, phase=Phase.RESIDENT, memory=memory, **more)


def gone(name: str, memory: int = 4, **more: Any) -> Tenant:
    return Tenant(name=name, phase=Phase.ABSENT, memory=memory, **more)


def leaving(name: str, memory: int = 4, **more: Any) -> Tenant:
    return Tenant(name=name, phase=Phase.LEAVING, memory=memory, **more)


def ask(*tenants: Tenant, demands: list[Demand] | None = None, budget: int = 10, now: float = 100) -> Decision:
    return decide(tenants, demands if demands is not None else [Demand(C, may_evict=True)], budget, now)


def test_what_fits_is_loaded() -> None:
    assert ask(there(A), gone(C)).load == (C,)
    assert ask(there(A, 1000), gone(C), budget=0).load == (C,)


def test_what_was_used_longest_ago_goes() -> None:
    decision = ask(there(A, used=5), there(B, used=3), gone(C))
    assert (decision.stop, decision.load) == ((B,), ())
    assert decision.closed == {B}


def test_no_more_goes_than_must() -> None:
    assert ask(there(A, 1, used=1), there(B, 6, used=2), gone(C, 10)).stop == (A, B)
    assert ask(there(A, 1, used=1), there(B, 8, used=2), gone(C, 9)).stop == (B,)


def test_nobody_in_use_is_stopped() -> None:
    decision = ask(there(A, is_used=True), there(B, is_used=True, used=9), gone(C))
    assert (decision.stop, decision.closed) == ((), {A})
    decision = ask(there(A, is_used=True), there(B, 6, used=9), gone(C, 10))
    assert (decision.stop, decision.closed) == ((), {A, B}), "all of them, or none yet"


def test_the_idle_go_before_the_used() -> None:
    assert ask(there(A, is_used=True, used=1), there(B, used=9), gone(C)).stop == (B,)


def test_one_that_is_being_emptied_is_not_spared_again() -> None:
    tenants = there(A, 5, is_used=True, used=1), there(B, 5, is_used=True, is_closed=True, used=9)
    assert ask(*tenants, gone(C)).closed == {B}


def test_the_pinned_stay() -> None:
    assert ask(there(A, is_pinned=True), there(B, used=9), gone(C)).stop == (B,)
    decision = ask(there(A, 8, is_pinned=True), gone(C))
    assert decision.refused == {Demand(C, may_evict=True): Refusal.NEVER_FITS}


def test_the_young_stay_until_they_are_ripe() -> None:
    decision = ask(there(A, ripe=130), there(B, ripe=120, used=9), gone(C))
    assert (decision.closed, decision.stop, decision.until) == (frozenset(), (), 120)
    assert "minimum residency" in decision.waits[C]
    assert ask(there(A, 8, ripe=math.inf), gone(C)).until == math.inf, "one that starts is heard of when it is there"


def test_rights() -> None:
    may_use, may_load, may_evict = Demand(C, may_load=False), Demand(C), Demand(C, may_evict=True)
    full, free = (there(A), there(B), gone(C)), (there(A), gone(C))
    assert ask(*free, demands=[may_use]).refused == {may_use: Refusal.MAY_NOT_LOAD}
    assert ask(*free, demands=[may_load]).load == (C,)
    assert ask(*full, demands=[may_load]).refused == {may_load: Refusal.MAY_NOT_EVICT}
    both = ask(*full, demands=[may_load, may_evict])
    assert (both.refused, both.stop) == ({may_load: Refusal.MAY_NOT_EVICT}, (A,))
    assert ask(there(C), demands=[may_use]) == Decision(), "what is loaded may be used"


def test_memory_that_comes_free_is_waited_for_without_the_right_to_evict() -> None:
    decision = ask(there(A), leaving(B), gone(C), demands=[Demand(C)])
    assert (decision.load, decision.refused, list(decision.waits)) == ((), {}, [C])


def test_one_that_is_leaving_comes_back_when_it_is_gone() -> None:
    decision = ask(leaving(C), demands=[Demand(C)])
    assert (decision.load, list(decision.waits)) == ((), [C])
    retired = Tenant(name=C, phase=Phase.RETIRED, memory=4)
    assert ask(retired, gone(C)).load == (), "never two of one model"
    assert ask(retired, gone(C), budget=0).load == ()
    both = ask(retired, gone(A, 6), gone(C), demands=[Demand(C), Demand(A)])
    assert (both.refused, both.load) == ({}, (A,)), "the place of the old one is kept for the new one"


def test_groups() -> None:
    decision = ask(there(A, group="g", used=9), there(B), gone(C, group="g"), budget=0)
    assert decision.stop == (A,)
    both = ask(gone(A, group="g"), gone(C, group="g"), demands=[Demand(A), Demand(C)], budget=0)
    assert (both.load, list(both.waits)) == ((A,), [C])
    pinned = ask(there(A, group="g", is_pinned=True), gone(C, group="g"), budget=0)
    assert list(pinned.refused.values()) == [Refusal.NEVER_FITS]


def test_order() -> None:
    first, second = Demand(B, may_evict=True), Demand(C, may_evict=True)
    decision = ask(there(A, 8), gone(B, 10), gone(C, 1), demands=[first, second])
    assert (decision.stop, decision.load) == ((A,), ()), "1 would fit, and then 10 would not"
    decision = ask(there(A, 8), gone(B, 8), gone(C, 1), demands=[first, second])
    assert (decision.stop, decision.load) == ((A,), (C,)), "1 takes nothing that 8 needs"
    decision = ask(there(A, 8), gone(B, 10), gone(C, 1), demands=[second, first])
    assert decision.load == (C,)


def test_who_is_let_in_first_may_use_it_first() -> None:
    decision = ask(there(A, 8), gone(C, 8), demands=[Demand(A), Demand(C, may_evict=True)])
    assert (decision.closed, decision.until) == (frozenset(), 100), "and then it is emptied"


def test_one_swap_at_a_time() -> None:
    tenants = there(A, 5, used=1), leaving("x", 5), gone(B, 5), gone(C, 5)
    decision = ask(*tenants, demands=[Demand(B, may_evict=True), Demand(C, may_evict=True)])
    assert (decision.stop, decision.load) == ((), ())
    assert "first" in decision.waits[C]


def test_idle_engines_go() -> None:
    decision = ask(there(A, used=80, idle=10), there(B, used=95, idle=10), there(C, idle=10, is_used=True), demands=[])
    assert (decision.stop, decision.until) == ((A,), 105)
    kept = ask(there(A, idle=10, is_pinned=True), there(B, idle=10, ripe=200), demands=[])
    assert (kept.stop, kept.until) == ((), 200)


def test_what_is_asked_to_be_unloaded_goes_first_of_all() -> None:
    decision = ask(there(A, is_unwanted=True, is_pinned=True), there(C, is_unwanted=True, is_used=True), demands=[])
    assert (decision.stop, decision.closed) == ((A,), {A, C})


def test_a_budget_that_shrank() -> None:
    assert ask(there(A, 8, used=1), there(B, 8, used=2), demands=[]).stop == (A,)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_promises_hold_whatever_happens(data: st.DataObject) -> None:
    """Requests of any right come and go, engines take their time, clocks jump: `World` checks after each step."""
    world = World(
        budget=data.draw(st.integers(4, 12)),
        sizes=data.draw(st.lists(st.integers(1, 8), min_size=2, max_size=5)),
        groups=data.draw(st.lists(st.sampled_from(["", "", "g"]), min_size=5, max_size=5)),
        pinned=data.draw(st.sets(st.integers(0, 4), max_size=1)),
    )
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(["come", "come", "leave", "engine", "engine", "time"])):
            case "come":
                world.come(data.draw(st.integers(0, 4)), data.draw(st.booleans()), data.draw(st.booleans()))
            case "leave":
                world.leave(data.draw(st.integers(0, 99)))
            case "engine":
                world.advance(data.draw(st.integers(0, 4)))
            case "time":
                world.now += data.draw(st.floats(0, 20))
        world.settle()
    world.finish()

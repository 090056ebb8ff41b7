"""A replica's share while Redis is away: together the replicas keep to the limits, alone each gets its part."""

import pytest

from gateway.ledger.clock import Clock
from gateway.ledger.limit import Ask, Denial, Grant, Need, Rate, Refund, Renew, Slots
from gateway.ledger.share import Share

SECOND = 1_000_000
RATE = Rate("r", 100, 60 * SECOND, 150)
SLOTS = Slots("s", 10, 60 * SECOND)


class Now:
    us = 0

    def ns(self) -> int:
        return 1000 * self.us


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def share(now: Now) -> Share:
    made = Share(Clock(lambda: 0, now.ns))
    made.replicas = 4
    return made


def ask(share: Share, *needs: Need, charge: str = "c", writer: str = "w") -> Grant | Denial:
    return share.ask(writer, Ask(charge, needs))


@pytest.mark.parametrize("replicas", [1, 3, 4, 7])
def test_it_starts_empty_and_flows_at_a_share_of_the_rate(share: Share, now: Now, replicas: int) -> None:
    share.replicas = replicas
    granted = 0
    for _ in range(600):  # a minute
        granted += isinstance(ask(share, Need(RATE, 1000)), Grant)
        now.us += SECOND // 10
    assert granted == (100 * 599) // (600 * replicas)


def test_a_share_holds_its_part_of_the_burst(share: Share, now: Now) -> None:
    ask(share, Need(RATE, 1000))
    now.us += 3600 * SECOND
    answers = [ask(share, Need(RATE, 1000)) for _ in range(100)]
    assert sum(isinstance(answer, Grant) for answer in answers) == 150 // 4


def test_a_cost_above_the_share_passes_alone(share: Share, now: Now) -> None:
    """It fits the limit, so it is not refused for ever because replicas are many."""
    denial = ask(share, Need(RATE, 120_000))
    assert isinstance(denial, Denial) and not denial.unsatisfiable
    now.us += denial.wait_us
    assert isinstance(ask(share, Need(RATE, 120_000)), Grant)
    never = ask(share, Need(RATE, 151_000))
    assert isinstance(never, Denial) and never.unsatisfiable


def test_slots_are_shared_out_and_one_is_always_there(share: Share) -> None:
    answers = [ask(share, Need(SLOTS, 1000), charge=str(n)) for n in range(5)]
    assert [isinstance(answer, Grant) for answer in answers] == [True, True, False, False, False]
    share.refund("w", Refund("0", (Need(SLOTS, 1000),), ""))
    assert isinstance(ask(share, Need(SLOTS, 1000), charge="5"), Grant)
    share.bury("w")
    assert isinstance(ask(share, Need(SLOTS, 1000), charge="6"), Grant)
    assert isinstance(ask(share, Need(Slots("one", 1, SECOND), 1000)), Grant)


def test_slots_are_renewed(share: Share, now: Now) -> None:
    slots = Slots("s", 4, 10 * SECOND)
    ask(share, Need(slots, 1000), charge="a")
    for _ in range(3):
        now.us += 6 * SECOND
        share.renew("w", Renew("a", (slots,)))
    assert isinstance(ask(share, Need(slots, 1000), charge="b"), Denial)
    now.us += 11 * SECOND
    assert isinstance(ask(share, Need(slots, 1000), charge="b"), Grant)


def test_what_was_spent_is_told_once_as_far_as_it_has_not_flowed_back(share: Share, now: Now) -> None:
    other = Rate("other", 100, 60 * SECOND, 150)
    ask(share, Need(RATE, 1000), Need(other, 1000))
    now.us += 60 * SECOND  # 25 units each
    for n in range(20):
        assert isinstance(ask(share, Need(RATE, 1000), charge=f"c{n}"), Grant)
    share.refund("w", Refund("c0", (Need(RATE, 1000),), ""))
    assert share.end().needs == (Need(RATE, -19_000),)
    assert share.end().needs == ()
    now.us += 60 * SECOND
    assert isinstance(ask(share, Need(RATE, 1000)), Denial), "the next outage starts empty as well"


def test_a_refund_of_what_was_never_granted_here_changes_nothing(share: Share) -> None:
    share.refund("w", Refund("x", (Need(RATE, 1000),), ""))
    assert isinstance(ask(share, Need(RATE, 1000)), Denial)


def test_shadow_and_looking(share: Share, now: Now) -> None:
    grant = ask(share, Need(RATE, 1000, shadow=True))
    assert isinstance(grant, Grant) and grant.shadowed == (0,)
    now.us += 60 * SECOND
    for _ in range(2):
        assert isinstance(share.peek(Ask("p", (Need(RATE, 25_000),))), Grant)

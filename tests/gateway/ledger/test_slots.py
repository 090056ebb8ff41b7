"""Slots: never more in use than there are, and never one that does not come back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Quota, Rate, Refund, Renew, Slots, Standing
from tests.gateway.ledger.authority import NewSite, Site
from tests.gateway.ledger.model import SECOND

TTL = 60 * SECOND
POOL = Slots("s", 3, TTL)
RATE, MONTHLY = Rate("r", 1, 3600 * SECOND, 10), Quota("q", 10)


def _ask(site: Site, charge: str, *limits: Limit, cost: int = 1000, writer: str = "w") -> Grant | Denial:
    return site.ledger.ask(writer, Ask(charge, tuple(Need(limit, cost) for limit in limits)))


def _refund(site: Site, charge: str, *limits: Limit, cost: int = 1000) -> None:
    site.ledger.refund("w", Refund(charge, tuple(Need(limit, cost) for limit in limits), ""))


def test_a_full_pool_refuses_and_says_so(new_site: NewSite) -> None:
    site = new_site()
    for number in range(3):
        grant = _ask(site, str(number), POOL)
        assert isinstance(grant, Grant) and (grant.period, grant.lease) == ("", 0)
        assert grant.standings == (Standing(2000 - 1000 * number, 0, 1000 + 1000 * number),)
    denial = _ask(site, "3", POOL)
    assert isinstance(denial, Denial) and not denial.unsatisfiable
    assert (denial.wait_us, denial.standings) == (SECOND, (Standing(0, 0, 3000),))
    _refund(site, "1", POOL)
    assert isinstance(_ask(site, "4", POOL), Grant)
    assert isinstance(_ask(site, "5", POOL), Denial)


def test_a_hold_ends_with_its_time_unless_it_is_renewed(new_site: NewSite) -> None:
    site = new_site()
    for number in range(3):
        _ask(site, str(number), POOL)
    site.advance(TTL - 1)
    assert site.used(POOL) == [3000]
    site.ledger.renew("w", Renew("1", (POOL,)))
    site.advance(1)
    assert site.used(POOL) == [1000]
    site.advance(TTL - 2)
    assert site.used(POOL) == [1000]
    site.advance(1)
    assert site.used(POOL) == [0]


def test_what_has_ended_or_was_given_back_is_not_renewed(new_site: NewSite) -> None:
    site = new_site()
    _ask(site, "late", POOL)
    site.advance(TTL)
    _ask(site, "done", POOL)
    _refund(site, "done", POOL)
    for charge in ("late", "done", "unknown"):
        site.ledger.renew("w", Renew(charge, (POOL, Slots("never asked for", 1, TTL))))
    assert site.used(POOL) == [0]


def test_a_refund_of_any_cost_frees_the_whole_hold_once(new_site: NewSite) -> None:
    site = new_site()
    for cost in (0, 1, -5000, 3000):
        _ask(site, f"a{cost}", POOL, cost=1500)
        _ask(site, f"b{cost}", POOL, cost=1500)
        for _ in range(2):
            _refund(site, f"a{cost}", POOL, cost=cost)
        assert site.used(POOL) == [1500]
        _refund(site, f"b{cost}", POOL)


def test_a_refund_without_the_pool_leaves_its_hold(new_site: NewSite) -> None:
    site = new_site()
    _ask(site, "1", POOL, RATE)
    _refund(site, "1", RATE)
    assert site.used(POOL, RATE) == [1000, 0]


def test_a_refusal_holds_nothing_whichever_limit_refuses(new_site: NewSite) -> None:
    site = new_site()
    _ask(site, "all of the rate", RATE, cost=10_000)
    denial = _ask(site, "1", POOL, RATE, MONTHLY)
    assert isinstance(denial, Denial) and denial.index == 1 and denial.wait_us == 3600 * SECOND
    assert site.used(POOL, MONTHLY) == [0, 0]
    for number in range(3):
        _ask(site, f"slot{number}", POOL)
    denial = _ask(site, "2", MONTHLY, POOL)
    assert isinstance(denial, Denial) and denial.index == 1
    assert site.used(POOL, MONTHLY) == [3000, 0]


def test_more_than_there_are_can_never_be(new_site: NewSite) -> None:
    denial = _ask(new_site(), "1", POOL, cost=3001)
    assert isinstance(denial, Denial) and denial.unsatisfiable


def test_a_smaller_pool_applies_at_once_and_drops_nobody(new_site: NewSite) -> None:
    site, smaller = new_site(), Slots("s", 1, TTL // 2)
    for number in range(3):
        _ask(site, str(number), POOL)
    assert _ask(site, "3", smaller).standings == (Standing(0, 0, 3000),)
    assert isinstance(_ask(site, "nothing", smaller, cost=0), Denial), "more is in use than there is"
    for number in range(3):
        _refund(site, str(number), smaller)
    assert isinstance(_ask(site, "4", smaller), Grant)
    site.advance(TTL // 2)
    assert site.used(POOL) == [0]


def test_a_shorter_time_overtakes_a_longer_one(new_site: NewSite) -> None:
    site = new_site()
    _ask(site, "long", POOL)
    _ask(site, "short", Slots("s", 3, SECOND))
    site.advance(SECOND)
    assert site.used(POOL) == [1000]


def test_slots_are_never_leased(new_site: NewSite) -> None:
    site, wide = new_site(), Slots("s", 100_000, TTL)
    grant = site.ledger.ask("w", Ask("1", (Need(wide, 1000), Need(Rate("r", 10**6, SECOND, 10**6), 1000)), 5000))
    assert isinstance(grant, Grant) and grant.lease == 0
    assert site.used(wide) == [1000]


def test_a_crash_keeps_what_is_in_use(new_site: NewSite) -> None:
    site = new_site()
    for number in range(3):
        _ask(site, str(number), POOL)
    site.advance(TTL // 2)
    site.ledger.renew("w", Renew("0", (POOL,)))
    _refund(site, "1", POOL)
    site.crash()
    assert site.used(POOL) == [2000]
    site.restart()
    site.advance(TTL // 2)
    assert site.used(POOL) == [1000]
    site.advance(TTL // 2)
    assert site.used(POOL) == [0]


def test_a_shadow_counts_and_never_refuses(new_site: NewSite) -> None:
    site = new_site()
    needs = (Need(RATE, 1000), Need(POOL, 1000, shadow=True), Need(MONTHLY, 4000, shadow=True))
    shadowed = [site.ledger.ask("w", Ask(str(number), needs)).shadowed for number in range(5)]  # type: ignore[union-attr]
    assert shadowed == [(), (), (2,), (1, 2), (1, 2)]
    assert site.used(RATE, POOL, MONTHLY) == [5000, 3000, 8000]
    never = site.ledger.ask("w", Ask("6", (Need(RATE, 1000), Need(POOL, 9000, shadow=True))))
    assert isinstance(never, Grant) and never.shadowed == (1,)
    assert never.standings[1] == Standing(0, 0, 3000), "it was not charged"


def test_a_refusal_names_no_shadow(new_site: NewSite) -> None:
    site = new_site()
    _ask(site, "all", MONTHLY, RATE, cost=10_000)
    denial = site.ledger.ask("w", Ask("1", (Need(MONTHLY, 1000, shadow=True), Need(RATE, 1000), Need(POOL, 1000))))
    assert isinstance(denial, Denial) and denial.index == 1
    assert site.used(POOL) == [0]


def test_a_cost_of_nothing_looks_for_debt(new_site: NewSite) -> None:
    site = new_site()
    _ask(site, "all", RATE, MONTHLY, cost=10_000)
    assert isinstance(_ask(site, "1", RATE, MONTHLY, cost=0), Grant)
    period = _ask(site, "2", MONTHLY, cost=0).period  # type: ignore[union-attr]
    site.ledger.refund("w", Refund("all", (Need(MONTHLY, -1),), period))
    assert isinstance(_ask(site, "3", MONTHLY, cost=0), Denial)
    assert isinstance(_ask(site, "4", RATE, cost=0), Grant)
    site.ledger.refund("w", Refund("all", (Need(RATE, -1),), ""))
    denial = _ask(site, "5", RATE, cost=0)
    assert isinstance(denial, Denial) and denial.wait_us == 3600 * SECOND // 1000


steps = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "refund", "renew", "renew", "pause", "crash"]),
    st.integers(0, 5),
    st.integers(1, 2500),
    st.integers(0, TTL // 2) | st.integers(0, 2 * TTL),
)


@settings(max_examples=200, deadline=None)
@given(limit=st.integers(1, 6), schedule=st.lists(steps, max_size=60))
def test_never_more_than_the_limit_and_all_come_back(
    new_site: NewSite, limit: int, schedule: list[tuple[str, int, int, int]]
) -> None:
    """What its holders believe they hold is at most what there is, and in the end it is all free."""
    site, pool = new_site(), Slots("s", limit, TTL)
    held: dict[str, tuple[int, int]] = {}  # charge: units, end
    for number, (action, which, cost, us) in enumerate(schedule):
        held = {charge: hold for charge, hold in held.items() if hold[1] > site.now_us}
        charge = list(held)[which % len(held)] if held else ""
        match action:
            case "ask":
                if isinstance(_ask(site, str(number), pool, cost=cost, writer=f"w{which % 2}"), Grant):
                    held[str(number)] = (cost, site.now_us + TTL)
            case "refund" if charge:
                _refund(site, charge, pool)
                del held[charge]
            case "renew" if charge:
                site.ledger.renew("w", Renew(charge, (pool,)))
                held[charge] = (held[charge][0], site.now_us + TTL)
            case "pause":
                site.advance(us)
            case "crash":
                site.crash()
        held = {charge: hold for charge, hold in held.items() if hold[1] > site.now_us}
        assert site.used(pool) == [sum(units for units, _ in held.values())]
        assert site.used(pool)[0] <= 1000 * limit
    site.advance(TTL)
    assert site.used(pool) == [0]

"""Months are exact after any death: what a writer was charged gives way to what its journal says."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.limit import Ask, Grant, Need, Quota, Rate, Refund, Return
from tests.gateway.ledger.authority import NewSite, Site
from tests.gateway.ledger.model import MONTH, MONTH_ENDS_US

KEY, PROJECT = Quota("key", 1000), Quota("project", 1500)
RATE = Rate("r", 10**6, 10**6, 10**6)


class Worker:
    """A worker process: what it spends goes to its journal, which outlives it."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self.name = name
        self.journal: Counter[tuple[str, str]] = Counter()
        self._limits = (RATE, KEY, PROJECT) if name.endswith("0") else (RATE, PROJECT)
        self._lease = Grant("", 0, 0, "", ())
        self._units = 0
        self._spent: list[tuple[int, str]] = []

    def ask(self, units: int, lease: int, is_lost: bool) -> None:
        """Ask, and spend what is granted, unless the answer is lost."""
        self.give_back()
        needs = tuple(Need(limit, units) for limit in self._limits)
        answer = self._site.ledger.ask(self.name, Ask(self.name, needs, lease))
        if isinstance(answer, Grant) and not is_lost:
            self._lease, self._units = answer, answer.lease
            self._write(units, answer.period)

    def spend(self, units: int) -> None:
        units = min(units, self._units)
        self._units -= units
        self._write(units, self._lease.period)

    def give_back(self) -> None:
        if self._lease.lease:
            self._site.ledger.give_back(self.name, Return(self.name, self._limits, self._units, self._lease.period))
        self._lease, self._units = Grant("", 0, 0, "", ()), 0

    def refund(self, is_lost: bool) -> None:
        """The journal knows of a refund even when the authority does not."""
        if self._spent:
            units, period = self._spent.pop()
            self._write(-units, period)
            if not is_lost:
                needs = tuple(Need(limit, units) for limit in self._limits)
                self._site.ledger.refund(self.name, Refund(self.name, needs, period))

    def _write(self, units: int, period: str) -> None:
        if units > 0:
            self._spent.append((units, period))
        for limit in self._limits:
            if isinstance(limit, Quota):
                self.journal[limit.key, period] += units


steps = st.tuples(
    st.sampled_from(["ask", "ask", "lease", "lease", "spend", "spend", "return", "refund", "kill", "crash", "restart"]),
    st.integers(0, 2),
    st.integers(1, 20_000),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(schedule=st.lists(steps, max_size=50), month_ends_at=st.integers(0, 50))
def test_used_equals_the_journals(
    new_site: NewSite, schedule: list[tuple[str, int, int, bool]], month_ends_at: int
) -> None:
    site = new_site()
    workers = [Worker(site, f"boot-w{number}-0") for number in range(3)]
    dead: list[Worker] = []
    for number, (action, who, units, flag) in enumerate(schedule):
        if number == month_ends_at:
            site.advance(MONTH_ENDS_US - site.now_us)
        worker = workers[who]
        match action:
            case "ask":
                worker.ask(units, 0, flag)
            case "lease":
                worker.ask(1 + units % 1000, units, flag)
            case "spend":
                worker.spend(units)
            case "return":
                worker.give_back()
            case "refund":
                worker.refund(flag)
            case "kill":
                dead.append(worker)
                workers[who] = Worker(site, f"boot-w{who}-{number + 1}")
            case "crash":
                site.crash()
            case "restart":
                site.restart()
    site.crash()
    dead += workers
    for worker in dead:
        assert site.ledger.settle(worker.name, worker.journal) or not any(worker.journal.values())
        assert not site.ledger.settle(worker.name, worker.journal), "settled once"
    _assert_used(site, dead)
    site.crash()
    _assert_used(site, dead)


def _assert_used(site: Site, dead: list[Worker]) -> None:
    totals: Counter[tuple[str, str]] = Counter()
    for worker in dead:
        totals.update(worker.journal)
    for key in ("key", "project"):
        for period in (MONTH, "2026-12"):
            assert site.used_in(key, period) == totals[key, period]


def test_a_writer_that_waits_keeps_its_conservative_figure(new_site: NewSite) -> None:
    site, needs = new_site(), (Need(KEY, 1000),)
    assert site.ledger.ask("boot1-w0", Ask("1", needs, 10_000)).lease == 10_000
    site.crash()
    assert site.used(KEY) == [11_000]
    site.ledger.ask("boot2-w0", Ask("3", needs))
    assert site.ledger.settle("boot1-w0", {("key", MONTH): 3000})
    assert site.used(KEY) == [4000]


def test_an_unknown_writer_changes_nothing(new_site: NewSite) -> None:
    site = new_site()
    assert not site.ledger.settle("nobody", {("key", MONTH): 3000})
    site.ledger.refund("nobody", Refund("1", (Need(KEY, 1000),), MONTH))
    site.crash()
    assert site.used(KEY) == [0]


def test_a_writer_gets_back_no_more_than_it_was_charged(new_site: NewSite) -> None:
    site, needs = new_site(), (Need(KEY, 1000),)
    site.ledger.ask("a", Ask("1", needs))
    site.ledger.ask("b", Ask("2", needs))
    for _ in range(2):
        site.ledger.refund("a", Refund("1", needs, MONTH))
    assert site.used(KEY) == [1000]


def test_a_journal_may_know_of_a_quota_that_was_never_charged(new_site: NewSite) -> None:
    site = new_site()
    site.ledger.ask("a", Ask("1", (Need(KEY, 1000),)))
    assert site.ledger.settle("a", {("project", MONTH): 7000})
    assert site.used(KEY, PROJECT) == [0, 7000]

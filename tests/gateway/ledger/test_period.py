"""Months at their edges."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfoNotFoundError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.limit import Ask, Denial, Grant, Need, Quota
from gateway.ledger.period import month_at
from tests.gateway.ledger.authority import NewSite
from tests.gateway.ledger.model import MONTH_ENDS_US, SECOND, find_month


def _us(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * SECOND  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("zone", "begins", "name"),
    [
        ("UTC", (2028, 3, 1), "2028-03"),  # after a leap day
        ("UTC", (2026, 3, 1), "2026-03"),
        ("UTC", (2027, 1, 1), "2027-01"),
        ("Europe/London", (2026, 3, 31, 23), "2026-04"),  # clocks went forward on the 29th
        ("Europe/London", (2026, 11, 1), "2026-11"),  # and back on 25 October
        ("America/New_York", (2026, 3, 1, 5), "2026-03"),
        ("America/New_York", (2026, 4, 1, 4), "2026-04"),
        ("Asia/Kathmandu", (2026, 11, 30, 18, 15), "2026-12"),
        ("Pacific/Kiritimati", (2026, 11, 30, 10), "2026-12"),
        ("America/Asuncion", (2017, 10, 1, 4), "2017-10"),  # that midnight was skipped
        ("America/Havana", (2020, 11, 1, 4), "2020-11"),  # that midnight came twice
        ("America/St_Johns", (2009, 11, 1, 2, 30), "2009-11"),  # a minute later it was October again
    ],
)
def test_a_month_begins_once_at_its_first_midnight(zone: str, begins: tuple[int, ...], name: str) -> None:
    begin_us = _us(*begins)
    before = month_at(begin_us - 1, zone)
    assert before.name < name and before.end_us == begin_us
    for passed_us in (0, 59 * SECOND, 120 * SECOND, 5400 * SECOND, 86_400 * SECOND):
        month = month_at(begin_us + passed_us, zone)
        assert month.name == name and month.start_us == begin_us


@pytest.mark.parametrize(
    ("zone", "anchor", "begins", "name"),
    [
        ("UTC", 15, (2026, 11, 15), "2026-11-15"),
        ("UTC", 31, (2026, 11, 30), "2026-11-30"),  # a month without that day: its last one
        ("UTC", 31, (2026, 12, 31), "2026-12-31"),
        ("UTC", 31, (2027, 2, 28), "2027-02-28"),
        ("UTC", 30, (2028, 2, 29), "2028-02-29"),  # a leap year
        ("UTC", 29, (2028, 2, 29), "2028-02-29"),
        ("UTC", 29, (2100, 2, 28), "2100-02-28"),  # no leap year
        ("UTC", 2, (2027, 1, 2), "2027-01-02"),
        ("Europe/London", 29, (2026, 3, 29), "2026-03-29"),  # the night clocks go forward
        ("Europe/London", 25, (2026, 10, 24, 23), "2026-10-25"),  # the night they go back
        ("America/Havana", 5, (2023, 11, 5, 4), "2023-11-05"),  # that midnight came twice
        ("America/Asuncion", 31, (2026, 10, 31, 3), "2026-10-31"),
        ("Pacific/Apia", 30, (2011, 12, 30, 10), "2011-12-30"),  # a day that was skipped
    ],
)
def test_a_month_may_begin_on_any_day(zone: str, anchor: int, begins: tuple[int, ...], name: str) -> None:
    begin_us = _us(*begins)
    before = month_at(begin_us - 1, zone, anchor)
    assert before.end_us == begin_us and before.name < name
    month = month_at(begin_us, zone, anchor)
    assert month.name == name and month.start_us == begin_us
    assert 28 <= (month.end_us - begin_us) / 86_400 / SECOND <= 32


@given(
    st.datetimes(datetime(1975, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(["UTC", "Europe/London", "America/St_Johns", "Asia/Gaza", "America/Asuncion", "Pacific/Apia"]),
    st.integers(1, 31),
)
@settings(deadline=None)
def test_months_are_those_of_the_calendar(moment: datetime, zone: str, anchor: int) -> None:
    """As the model finds them, which asks the zone for every minute of a day."""
    wall_us = int(moment.replace(tzinfo=UTC).timestamp()) * SECOND
    month = month_at(wall_us, zone, anchor)
    assert (month.name, month.end_us) == find_month(wall_us, Quota("q", 1, zone, anchor))


@given(
    st.datetimes(datetime(1975, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(
        ["UTC", "Europe/London", "America/St_Johns", "Australia/Lord_Howe", "Asia/Gaza", "Africa/Casablanca"]
    ),
    st.integers(1, 31),
)
def test_months_follow_each_other_without_gap(moment: datetime, zone: str, anchor: int) -> None:
    wall_us = int(moment.replace(tzinfo=UTC).timestamp()) * SECOND
    month = month_at(wall_us, zone, anchor)
    assert month.start_us <= wall_us < month.end_us
    assert month_at(month.start_us, zone, anchor) == month == month_at(month.end_us - 1, zone, anchor)
    following = month_at(month.end_us, zone, anchor)
    assert following.start_us == month.end_us and following.name > month.name


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        month_at(0, "Europe/Atlantis")


def test_the_counter_starts_afresh_with_the_month(new_site: NewSite) -> None:
    site, needs = new_site(), (Need(Quota("q", 2), 1000),)
    site.advance(MONTH_ENDS_US - site.now_us - 1)
    grants = [site.ledger.ask("w", Ask("1", needs)) for _ in range(2)]
    assert [grant.period for grant in grants if isinstance(grant, Grant)] == ["2026-11", "2026-11"]
    denial = site.ledger.ask("w", Ask("2", needs))
    assert isinstance(denial, Denial) and denial.wait_us == 1
    site.advance(1)
    grant = site.ledger.ask("w", Ask("3", needs))
    assert isinstance(grant, Grant) and grant.period == "2026-12" and grant.standings[0].used == 1000


def test_a_lease_ends_with_its_month(new_site: NewSite) -> None:
    site = new_site()
    site.advance(MONTH_ENDS_US - site.now_us - 250_000)
    grant = site.ledger.ask("w", Ask("1", (Need(Quota("q", 1000), 1000),), 5000))
    assert isinstance(grant, Grant) and (grant.lease, grant.lease_us) == (5000, 250_000)


def test_months_go_by_the_wall_even_when_it_is_stepped(new_site: NewSite) -> None:
    site, needs = new_site(), (Need(Quota("q", 5), 1000),)
    for _ in range(3):
        site.ledger.ask("w", Ask("1", needs))
    if not site.steps_wall:
        pytest.skip("one clock")
    site.step_wall(MONTH_ENDS_US - site.now_us)
    assert site.ledger.ask("w", Ask("2", needs)).standings[0].used == 1000
    site.step_wall(-SECOND)
    assert site.ledger.ask("w", Ask("3", needs)).standings[0].used == 4000


def test_no_name_is_ever_used_for_two_months() -> None:
    """Ten years of every anchor, in a zone with summer time."""
    for anchor in range(1, 32):
        month = month_at(_us(2024, 1, 10), "Europe/London", anchor)
        names = []
        while month.start_us < _us(2034, 1, 1):
            names.append(month.name)
            month = month_at(month.end_us, "Europe/London", anchor)
        assert names == sorted(set(names)) and 120 <= len(names) <= 121

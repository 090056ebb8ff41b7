"""What outlives a worker, a supervisor or a month in the embedded ledger, and for how long."""

from pathlib import Path

import msgspec
import pytest

from gateway.ledger.limit import Ask, Grant, Need, Quota, Slots
from gateway.ledger.tape import Tape
from tests.gateway.ledger.authority import EmbeddedSite
from tests.gateway.ledger.model import MONTH, SECOND, START_US


@pytest.fixture
def site(tmp_path: Path) -> EmbeddedSite:
    return EmbeddedSite(tmp_path)


def test_writers_of_earlier_boots_wait_to_be_settled(site: EmbeddedSite) -> None:
    ask = Ask("1", (Need(Quota("q", 10), 1000),))
    site.ledger.ask("w0", ask)
    site.crash()
    site.ledger.ask("w1", ask)
    assert site.ledger.unsettled() == ["w0"], "those of this boot are the supervisor's to know"
    site.ledger.settle("w0", {})
    assert site.ledger.unsettled() == []


def test_what_a_dead_writer_holds_is_free_at_once(site: EmbeddedSite) -> None:
    pools = (Slots("s", 9, 60 * SECOND), Slots("t", 9, 60 * SECOND))
    for writer in ("w0", "w1", "w0"):
        site.advance(1)
        site.ledger.ask(writer, Ask(f"{writer}-{site.now_us}", tuple(Need(pool, 1000) for pool in pools)))
    site.ledger.bury("w0")
    assert site.used(*pools) == [1000, 1000]
    site.crash()
    assert site.used(*pools) == [1000, 1000]


def test_free_pools_are_forgotten(site: EmbeddedSite) -> None:
    for number in range(500):
        site.ledger.ask("w", Ask("1", (Need(Slots(f"s{number}", 1, SECOND), 1000),)))
        site.advance(SECOND // 10)  # most end by themselves
    assert len(site.ledger._book.pools) <= 30


def test_a_wall_set_back_between_boots_keeps_slots_no_longer_than_their_time(site: EmbeddedSite) -> None:
    pool = Slots("s", 1, 60 * SECOND)
    site.ledger.ask("w", Ask("1", (Need(pool, 1000),)))
    site.step_wall(-3600 * SECOND)
    site.crash()
    assert site.used(pool) == [1000]
    site.advance(60 * SECOND)
    assert site.used(pool) == [0]


@pytest.mark.parametrize("anchor", [1, 2, 15, 21, 22, 30, 31])
def test_a_month_can_be_corrected_for_35_days_after_its_end(site: EmbeddedSite, anchor: int) -> None:
    grant = site.ledger.ask("w", Ask("1", (Need(Quota("q", 10, "UTC", anchor), 1000),)))
    assert isinstance(grant, Grant)
    site.advance(grant.standings[0].reset_us + 35 * 86_400 * SECOND - 1)
    site.restart()
    assert site.used_in("q", grant.period) == 1000


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    """As it was before there were pools and anchors: fields that follow have their defaults."""
    entry = ["entry", "w", START_US, ["ask", "1", [[["quota", "q", 5, "UTC"], 3000]], 0], 0, MONTH]
    snapshot = ["snapshot", {}, [["q", MONTH, 1000]], {"w": [["q", MONTH, 1000]]}]
    tape = Tape(tmp_path / "ledger.log")
    tape.append([msgspec.msgpack.encode(record) for record in (snapshot, entry)])
    tape.close()
    assert EmbeddedSite(tmp_path).used(Quota("q", 5)) == [4000]

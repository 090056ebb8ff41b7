"""The state takes the place of its history piece by piece, while the work goes on and whenever it breaks off."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger import embedded
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Ask, Grant, Need, Quota, Rate, Refund, Renew, Return, Slots
from gateway.ledger.tape import Tape
from tests.gateway.ledger.authority import EmbeddedSite
from tests.gateway.ledger.model import MONTH, SECOND

RATES = [Rate(f"r{number}", 10 ** (number % 4), SECOND, 1000) for number in range(8)]
MONTHS = [Quota(f"m{number}", 1000) for number in range(8)]
POOLS = [Slots(f"s{number}", 20, (1 + number) * SECOND) for number in range(4)]
DEEDS = ["ask", "ask", "ask", "lease", "hold", "refund", "renew", "return", "settle", "bury", "check"]
steps = st.tuples(
    st.sampled_from(DEEDS), st.integers(0, 7), st.integers(0, 3), st.integers(1, 9000), st.integers(0, SECOND)
)
Step = tuple[str, int, int, int, int]


class Work:
    """What workers may say, in any order, to a ledger that is being compacted."""

    def __init__(self, site: EmbeddedSite) -> None:
        self._site = site
        self._granted: list[tuple[str, Ask, Grant]] = []
        self._lives = [0] * 4

    def perform(self, step: Step) -> None:
        action, which, who, units, pause_us = step
        site, writer = self._site, f"w{who}-{self._lives[who]}"
        site.advance(pause_us)
        needs = (Need(RATES[which], units), Need(MONTHS[(which + who) % 8], 2 * units))
        charge = str(site.now_us)
        match action:
            case "ask":
                self._ask(writer, Ask(charge, needs))
            case "lease":
                self._ask(writer, Ask(charge, needs, 9000))
            case "hold":
                self._ask(writer, Ask(charge, (Need(POOLS[who], units), *needs)))
            case "refund" | "renew" | "return" if self._granted:
                self._follow(action, *self._granted[which % len(self._granted)])
            case "settle":
                self._lives[who] += site.ledger.settle(writer, {(MONTHS[which].key, MONTH): units})
            case "bury":
                site.ledger.bury(writer)
            case "check":
                self.check()
        site.ledger._compact_at = 0  # as soon as it is done it begins again

    def _ask(self, writer: str, ask: Ask) -> None:
        answer = self._site.ledger.ask(writer, ask)
        if isinstance(answer, Grant):
            self._granted.append((writer, ask, answer))

    def _follow(self, action: str, writer: str, ask: Ask, grant: Grant) -> None:
        limits, ledger = tuple(need.limit for need in ask.needs), self._site.ledger
        match action:
            case "refund":
                ledger.refund(writer, Refund(ask.charge, ask.needs, grant.period))
            case "renew":
                ledger.renew(writer, Renew(ask.charge, tuple(slot for slot in limits if isinstance(slot, Slots))))
            case "return" if grant.lease:
                ledger.give_back(writer, Return(ask.charge, limits, grant.lease // 2, grant.period))

    def check(self) -> None:
        """A replay of the file as it is now gives the state as it is now."""
        site = self._site
        copy = site.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        shutil.copy(site.directory / "ledger.log", copy)
        again = EmbeddedLedger.open(copy, site.ledger._clock)
        assert _state(again, site.now_us) == _state(site.ledger, site.now_us)
        again._tape.close()


def _state(ledger: EmbeddedLedger, now_us: int) -> Any:
    """The state, whatever order it came about in."""
    state = ledger._book.export(now_us)
    charges = {writer: sorted(row for row in rows if row[2]) for writer, rows in state.charges.items()}
    return state.buckets, sorted(row for row in state.months if row[2]), charges, state.pools


@settings(max_examples=200, deadline=None)
@given(piece=st.integers(1, 5), schedule=st.lists(steps, min_size=20, max_size=80))
def test_at_any_moment_the_file_is_the_state(
    tmp_path_factory: pytest.TempPathFactory, piece: int, schedule: list[Step]
) -> None:
    site = EmbeddedSite(tmp_path_factory.mktemp("pieces"))
    work = Work(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "_PIECE", piece)
        for step in schedule:
            work.perform(step)
        work.check()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedSite:
    monkeypatch.setattr(embedded, "_PIECE", 1)
    return EmbeddedSite(tmp_path)


def _fill(site: EmbeddedSite, count: int) -> None:
    for number in range(count):
        site.ledger.ask("w", Ask(str(number), (Need(Rate(f"r{number}", 1, 3600 * SECOND, 10), 1000),)))


def test_no_write_waits_for_more_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_COMPACT_AT", 50_000)
    monkeypatch.setattr(embedded, "_PIECE", 10)
    site, sizes = EmbeddedSite(tmp_path), []
    append = Tape.append
    monkeypatch.setattr(
        Tape, "append", lambda tape, records: (sizes.append(len(b"".join(records))), append(tape, records))
    )
    _fill(site, 3000)
    assert max(sizes) < 1000
    assert (tmp_path / "ledger.log").stat().st_size < 600_000, "it was compacted"
    state = _state(site.ledger, site.now_us)
    site.crash()
    assert _state(site.ledger, site.now_us) == state and len(state[0]) == 3000


def test_a_disk_that_fills_up_meanwhile_leaves_the_file_as_it_is(
    site: EmbeddedSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _fill(site, 10)
    site.ledger._compact_at = 0
    _fill(site, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Tape, "adopt", _fail)
        _fill(site, 10)
    assert site.ledger.write_errors == 1 and [file.name for file in tmp_path.iterdir()] == ["ledger.log"]
    state = _state(site.ledger, site.now_us)
    site.crash()
    assert _state(site.ledger, site.now_us) == state
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def _fail(tape: Tape, spare: Tape) -> None:
    raise OSError(28, "No space left on device")


def test_what_a_crash_left_of_a_new_file_is_no_part_of_the_next(site: EmbeddedSite) -> None:
    _fill(site, 10)
    site.ledger._compact_at = 0
    _fill(site, 3)
    state = _state(site.ledger, site.now_us)
    for _ in range(2):
        site.crash()
        assert _state(site.ledger, site.now_us) == state
        (site.directory / "ledger.new").write_bytes(bytes(1000))
        site.ledger._compact_at = 0
        while not site.ledger._compact_at:
            site.ledger.refund("w", Refund("none", (), ""))


def test_a_clean_stop_meanwhile_writes_the_whole(site: EmbeddedSite, tmp_path: Path) -> None:
    _fill(site, 10)
    site.ledger._compact_at = 0
    _fill(site, 3)
    assert (tmp_path / "ledger.new").exists()
    state = _state(site.ledger, site.now_us)
    site.restart()
    assert _state(site.ledger, site.now_us) == state and [file.name for file in tmp_path.iterdir()] == ["ledger.log"]

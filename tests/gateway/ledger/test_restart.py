"""The embedded ledger's file: what was granted is in it, whoever is killed when, and whatever the disk says."""

import logging
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger import embedded
from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Ask, Denial, Grant, Need, Quota, Rate, Refund, Renew, Return, Slots
from gateway.ledger.record import Snapshot
from tests.gateway.ledger.authority import EmbeddedSite
from tests.gateway.ledger.model import MONTH, SECOND

RATES = [Rate("a", 1000, SECOND, 1000), Rate("b", 99_991, 60 * SECOND, 5000), Rate("a", 7, SECOND, 1000)]
MONTHS = [Quota("m", 1000), Quota("n", 2000)]
POOL = Slots("s", 20, SECOND)
steps = st.tuples(
    st.sampled_from(["ask", "ask", "lease", "hold", "refund", "renew", "return", "settle", "bury"]),
    st.integers(0, 2),
    st.sampled_from(RATES),
    st.integers(1, 9000),
    st.integers(0, 300_000),
)


@pytest.fixture
def site(tmp_path: Path) -> EmbeddedSite:
    return EmbeddedSite(tmp_path)


def _state(site: EmbeddedSite) -> Snapshot:
    return site.ledger._book.export(site.now_us)


def _perform(site: EmbeddedSite, step: tuple[str, int, Rate, int, int]) -> None:
    action, who, rate, units, pause_us = step
    site.advance(pause_us)
    writer, limits = f"w{who}", (rate, MONTHS[who % 2])
    needs = tuple(Need(limit, units) for limit in limits)
    match action:
        case "ask" | "lease":
            site.ledger.ask(writer, Ask(writer, needs, 9000 if action == "lease" else 0))
        case "refund":
            site.ledger.refund(writer, Refund(writer, needs, MONTH))
        case "hold":
            site.ledger.ask(writer, Ask(f"{writer}-{site.now_us}", (*needs, Need(POOL, units))))
        case "renew":
            site.ledger.renew(writer, Renew(f"{writer}-{site.now_us - pause_us}", (POOL,)))
        case "bury":
            site.ledger.bury(writer)
        case "return":
            site.ledger.give_back(writer, Return(writer, limits, units, MONTH))
        case "settle":
            site.ledger.settle(writer, {("m", MONTH): units})


@settings(max_examples=150, deadline=None)
@given(schedule=st.lists(steps, max_size=25), data=st.data())
def test_any_prefix_of_the_file_is_the_state_at_its_last_whole_record(
    tmp_path_factory: pytest.TempPathFactory, schedule: list[tuple[str, int, Rate, int, int]], data: st.DataObject
) -> None:
    site = EmbeddedSite(tmp_path_factory.mktemp("cut"))
    file = site.directory / "ledger.log"
    states = [(file.stat().st_size, _state(site), site.now_us)]
    for step in schedule:
        _perform(site, step)
        states.append((file.stat().st_size, _state(site), site.now_us))
    cut = data.draw(st.integers(0, file.stat().st_size))
    with file.open("r+b") as stream:
        stream.truncate(cut)
    _, state, site.now_us = [state for state in states if state[0] <= cut][-1]
    site.crash()
    assert _state(site) == state
    site.crash()
    assert _state(site) == state, "and again, now from a snapshot"


def test_a_damaged_record_ends_the_file(site: EmbeddedSite, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        _perform(site, ("ask", 0, RATES[0], 1000, 0))
    file = site.directory / "ledger.log"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1  # in the second of three
    file.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        site.crash()
    assert f"the last {2 * len(data) // 3} bytes are no whole record, cut" in caplog.text
    assert site.used(RATES[0]) == [1000]


def test_zeros_left_by_a_power_cut_are_no_records(site: EmbeddedSite) -> None:
    _perform(site, ("ask", 0, RATES[0], 1000, 0))
    state = _state(site)
    with (site.directory / "ledger.log").open("ab") as stream:
        stream.write(bytes(4096))
    site.crash()
    assert _state(site) == state


def test_a_file_without_one_whole_record_is_empty(site: EmbeddedSite) -> None:
    (site.directory / "ledger.log").write_bytes(b"half a rec")
    site.crash()
    _perform(site, ("ask", 0, RATES[0], 1000, 0))
    state = _state(site)
    site.crash()
    assert _state(site) == state


def test_what_follows_a_write_cut_short_is_kept(site: EmbeddedSite) -> None:
    file = site.directory / "ledger.log"
    _perform(site, ("ask", 0, RATES[0], 1000, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 10, hard))
    try:
        _perform(site, ("ask", 1, RATES[0], 1000, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    _perform(site, ("ask", 2, RATES[0], 1000, 0))
    site.crash()
    assert site.used(RATES[0]) == [2000] and site.ledger.unsettled() == ["w0", "w2"]


def test_a_batch_is_one_write_and_on_disk_when_it_ends(site: EmbeddedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    append = type(site.ledger._tape).append
    monkeypatch.setattr(type(site.ledger._tape), "append", lambda tape, records: writes.append(append(tape, records)))
    with site.ledger.batch():
        for _ in range(5):
            _perform(site, ("ask", 0, RATES[0], 1000, 0))
        assert not writes
    with site.ledger.batch():
        site.ledger.peek(Ask("p", (Need(RATES[0], 1000),)))
    assert len(writes) == 1
    state = _state(site)
    site.crash()
    assert _state(site) == state


def test_the_file_is_compacted(site: EmbeddedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_COMPACT_AT", 5000)
    site.crash()
    site.ledger._compact()
    for number in range(500):
        _perform(site, ("ask", number % 3, RATES[number % 2], 1000, 0))
        assert (site.directory / "ledger.log").stat().st_size < 6000
    state = _state(site)
    site.crash()
    assert _state(site) == state
    site.restart()
    assert _state(site) == state and [file.name for file in site.directory.iterdir()] == ["ledger.log"]


def test_idle_buckets_are_forgotten(site: EmbeddedSite) -> None:
    for number in range(3000):
        site.ledger.ask("w", Ask("1", (Need(Rate(f"r{number}", 100, SECOND, 100), 1000),)))
        site.advance(1000)  # each is full again after ten more
    assert len(site.ledger._book.buckets) <= 30


def test_months_long_past_are_forgotten(site: EmbeddedSite) -> None:
    _perform(site, ("ask", 0, RATES[0], 1000, 0))
    site.advance(80 * 86_400 * SECOND)
    site.restart()
    assert _state(site) == Snapshot({}, (), {"w0": ()})
    assert site.ledger.settle("w0", {("m", MONTH): 1000}), "its journal may come late"


def test_wall_steps_change_no_rate_while_it_runs(site: EmbeddedSite) -> None:
    ask = Ask("1", (Need(Rate("r", 1, SECOND, 1), 1000),))
    site.ledger.ask("w", ask)
    for step in (3600, -7200):
        site.step_wall(step * SECOND)
        denial = site.ledger.ask("w", ask)
        assert isinstance(denial, Denial) and denial.wait_us == SECOND


def test_a_wall_set_back_between_boots_locks_out_for_no_longer_than_debt(site: EmbeddedSite) -> None:
    ask = Ask("1", (Need(Rate("r", 1, SECOND, 10), 1000),), 0)
    site.ledger.ask("w", ask)
    site.step_wall(-3600 * SECOND)
    site.crash()
    denial = site.ledger.ask("w", ask)
    assert isinstance(denial, Denial) and denial.wait_us == 41 * SECOND
    site.advance(20 * SECOND)
    site.step_wall(0)
    site.crash()
    denial = site.ledger.ask("w", ask)
    assert isinstance(denial, Denial) and denial.wait_us == 21 * SECOND, "the clamp is not replayed"
    site.advance(21 * SECOND)
    assert isinstance(site.ledger.ask("w", ask), Grant)


def test_a_full_disk_changes_no_answer_and_heals(site: EmbeddedSite, caplog: pytest.LogCaptureFixture) -> None:
    file = site.directory / "ledger.log"
    _perform(site, ("ask", 0, RATES[0], 1000, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size * 5 // 2, hard))  # a write will fall short
    try:
        for _ in range(20):
            assert isinstance(site.ledger.ask("w", Ask("1", (Need(RATES[0], 1000), Need(MONTHS[0], 1000)))), Grant)
            site.advance(SECOND)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert site.ledger.write_errors >= 15
    assert 2 <= len([record for record in caplog.records if record.levelno == logging.ERROR]) <= 3, "once in 10 s"
    site.advance(10 * SECOND)
    _perform(site, ("ask", 0, RATES[0], 1000, 0))
    errors, state = site.ledger.write_errors, _state(site)
    site.crash()
    assert _state(site) == state
    _perform(site, ("ask", 0, RATES[0], 1000, 0))
    assert errors and site.ledger.write_errors == 0


_SPENDER = """
import os
import sys
from pathlib import Path
from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Ask, Need, Quota
ledger = EmbeddedLedger.open(Path(sys.argv[1]), Clock())
ask = Ask("c", (Need(Quota("m", 10**9), 1000),))
while True:
    ledger.ask(sys.argv[2], ask)
    os.write(1, b".")
"""


def test_kill_9_forgets_nothing_granted(tmp_path: Path) -> None:
    granted = 0
    for run in range(3):
        process = subprocess.Popen([sys.executable, "-c", _SPENDER, str(tmp_path), f"w{run}"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process, process.stdout as output:
            granted += len(output.read(500 + 311 * run))
            process.send_signal(signal.SIGKILL)
            granted += len(output.read())
    ledger = EmbeddedLedger.open(tmp_path, Clock())
    used = ledger.peek(Ask("p", (Need(Quota("m", 10**9), 1000),))).standings[0].used - 1000
    assert granted <= used // 1000 <= granted + 3, "at most the one in hand at each death"
    assert ledger.unsettled() == ["w0", "w1", "w2"]

from pathlib import Path

from gateway.backlog import Backlog, backlog_bytes, plan_segment
from gateway.journal import SEGMENT, Journal, Lost, Record
from gateway.metrics import Board, Reader, make_board_file
from tests.gateway.control.records import opened
from tests.gateway.test_journal import WRITER, read


def test_beyond_the_bound_records_are_lost_and_counted_and_below_it_taken_again(tmp_path: Path) -> None:
    file = make_board_file()
    board, reader = Board(file), Reader(file)
    journal = Journal(tmp_path, WRITER, clock=lambda: 0.0)
    backlog = Backlog(journal, 5000, board, clock=lambda: 7.0)
    waiting = tmp_path / "other.0.jsonl"
    waiting.write_bytes(bytes(4990))
    journal.write(opened("taken"))
    assert backlog_bytes(tmp_path) > 5000
    backlog.expire()
    journal.write(opened("lost"))
    journal.write(opened("lost too"))
    waiting.write_bytes(bytes(4400))  # more than nine tenths with what is there
    backlog.expire()
    journal.write(opened("still lost"))
    assert reader.read()["trace_dropped_total", "bound"] == [2.0]
    waiting.unlink()
    backlog.expire()
    journal.write(opened("taken again"))
    journal.close()
    records: list[Record] = [opened("taken"), Lost(3), opened("taken again")]
    assert read(tmp_path) == records
    assert reader.read()["trace_dropped_total", "bound"] == [3.0]
    assert backlog.deadline == 8.0
    reader.close()


def test_without_a_bound_nothing_is_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path, WRITER)
    (tmp_path / "other.0.jsonl").write_bytes(bytes(100_000))
    Backlog(journal, 0, Board(make_board_file())).expire()
    journal.write(opened("taken"))
    journal.close()
    assert read(tmp_path) == [opened("taken")]


def test_what_is_stored_never_fills_the_bound() -> None:
    """The segments that are being written stay, though all that is in them is stored."""
    for bound in (40_000, 16_000_000, 2_000_000_000):
        for workers in (1, 2, 64):
            assert plan_segment(bound, workers) * workers <= max(bound / 8, 4096 * workers)
    assert plan_segment(2_000_000_000, 2) == plan_segment(0, 256) == SEGMENT


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert backlog_bytes(tmp_path / "absent") == 0

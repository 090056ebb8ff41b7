import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gateway.journal import Closed, Journal, Lost, Opened, Progress, Record, is_locked, segment_path
from tests.gateway.control.records import closed, opened

WRITER = "0a1b2c3d-w1"


def read(directory: Path, segment: int = 0) -> list[Opened | Progress | Closed | Lost]:
    data = segment_path(directory, WRITER, segment).read_bytes()
    return msgspec.json.Decoder(Record).decode_lines(data)


def run_writer(directory: Path, code: str) -> subprocess.Popen[bytes]:
    setup = (
        "import os, resource, sys\nfrom pathlib import Path\nfrom gateway.journal import Journal\n"
        "from tests.gateway.control.records import closed, opened\n"
        f"journal = Journal(Path({str(directory)!r}), {WRITER!r})\n"
    )
    return subprocess.Popen([sys.executable, "-c", setup + code], stdout=subprocess.PIPE)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    journal = Journal(tmp_path, WRITER)
    request = opened("1", model='quote " line\n break')
    records = [request, Progress("1", 300, 4), closed(request, retries=2)]
    for record in records:
        journal.write(record)
    journal.close()
    assert read(tmp_path) == records
    assert journal.dropped == {"disk": 0, "bound": 0}


def test_each_record_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    writer = run_writer(tmp_path, "journal.write(opened('1'))\nprint(flush=True)\nsys.stdin.read()")
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert read(tmp_path) == [opened("1")]


def test_segments_roll_and_lose_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, WRITER, segment_bytes=2000)
    records = [closed(opened(str(number))) for number in range(50)]
    for record in records:
        journal.write(record)
    journal.close()
    count = len(list(tmp_path.iterdir()))
    assert count > 3
    assert [record for segment in range(count) for record in read(tmp_path, segment)] == records
    assert all(segment_path(tmp_path, WRITER, segment).stat().st_size < 3000 for segment in range(count))


def test_files_are_private(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", WRITER)
    journal.close()
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    assert segment_path(tmp_path / "journal", WRITER, 0).stat().st_mode & 0o777 == 0o600


def test_the_lock_tells_whether_the_writer_lives(tmp_path: Path) -> None:
    writer = run_writer(tmp_path, "print(flush=True)\nsys.stdin.read()")
    assert writer.stdout is not None
    writer.stdout.readline()
    path = segment_path(tmp_path, WRITER, 0)
    assert is_locked(path)
    writer.kill()
    writer.communicate()
    assert not is_locked(path)
    assert not is_locked(tmp_path / "absent.0.jsonl")


def test_at_every_moment_one_segment_is_locked(tmp_path: Path) -> None:
    journal = Journal(tmp_path, WRITER, segment_bytes=1)
    for segment in range(5):
        assert is_locked(segment_path(tmp_path, WRITER, segment))
        journal.write(opened("1"))
        assert not is_locked(segment_path(tmp_path, WRITER, segment))
    journal.close()


def test_what_cannot_be_encoded_is_dropped_and_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path, WRITER)
    journal.write(opened("1", model="\ud800"))
    journal.write(opened("2"))
    journal.close()
    assert journal.dropped == {"disk": 1, "bound": 0}
    assert read(tmp_path) == [Lost(1), opened("2")]


def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """The limit on the file's size stands for the full disk: the first write fits in part, the next not at all."""
    code = """
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
journal.write(opened("whole"))
size = os.fstat(journal._file).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
journal.write(opened("torn"))
journal.write(opened("absent"))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.write(opened("after"))
journal.write(opened("last"))
print(journal.dropped["disk"])
"""
    output, _ = run_writer(tmp_path, code).communicate()
    assert output.split() == [b"2"]
    lines = segment_path(tmp_path, WRITER, 0).read_bytes().splitlines()
    decode = msgspec.json.Decoder(Record).decode
    assert decode(lines[0]) == opened("whole")
    with pytest.raises(msgspec.DecodeError):
        decode(lines[1])
    assert [decode(line) for line in lines[2:]] == [Lost(2), opened("after"), opened("last")]


def test_failures_are_logged_once_in_ten_seconds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    times = iter((100.0, 101.0, 109.9, 110.0, 111.0))
    journal = Journal(tmp_path, WRITER, clock=lambda: next(times))
    os.close(journal._file)
    journal._file = os.open(os.devnull, os.O_RDONLY)  # every write fails
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            journal.write(opened("1"))
    journal.close()
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == [1, 4]
    assert journal.dropped == {"disk": 5, "bound": 0}


def test_a_segment_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path, WRITER, segment_bytes=1)
    segment_path(tmp_path, WRITER, 1).with_suffix(".new").mkdir()
    journal.write(opened("1"))
    segment_path(tmp_path, WRITER, 1).with_suffix(".new").rmdir()
    journal.write(opened("2"))
    journal.write(opened("3"))
    journal.close()
    assert read(tmp_path, 0) == [opened("1"), opened("2")]
    assert read(tmp_path, 1) == [opened("3")]

"""Engines of an earlier supervisor are ended at the next start; strangers with their number are not."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.engines.leftovers import Leftovers


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_ends_what_was_left(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    path = str(tmp_path / "engines.json")
    Leftovers(path).add(sleeper.pid)
    assert Leftovers(path).end() == 1
    assert sleeper.wait(2) == -9


def test_spares_what_ended_and_what_is_another(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    path = tmp_path / "engines.json"
    book = Leftovers(str(path))
    book.add(sleeper.pid)
    written = json.loads(path.read_text())
    path.write_text(json.dumps({pid: f"{start}0" for pid, start in written.items()}))
    assert Leftovers(str(path)).end() == 0
    book.add(sleeper.pid)
    book.remove(sleeper.pid)
    assert Leftovers(str(path)).end() == 0
    assert sleeper.poll() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"1": 2}'])
def test_survives_a_torn_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "engines.json").write_text(content)
    assert Leftovers(str(tmp_path / "engines.json")).end() == 0


def test_disk_that_cannot_be_written(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    Leftovers(str(tmp_path / "missing" / "engines.json")).add(sleeper.pid)

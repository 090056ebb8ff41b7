"""An engine's log is read from its end, and followed into the file that comes next."""

import os
from pathlib import Path

from gateway.control.api.log_file import LogFile


def test_the_last_lines_and_what_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "echo.log"
    log = LogFile(str(path))
    assert log.last(5) == [] == log.fresh()
    path.write_text("a\nb\nc\n")
    assert LogFile(str(path)).last(2) == ["b", "c"]
    log = LogFile(str(path))
    assert log.last(9) == ["a", "b", "c"]
    with path.open("a") as file:
        file.write("d\nhal")
    assert log.fresh() == ["d"]
    with path.open("a") as file:
        file.write("f\n")
    assert log.fresh() == ["half"]
    assert log.fresh() == []


def test_a_file_that_was_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "echo.log"
    path.write_text("old\n")
    log = LogFile(str(path))
    assert log.last(9) == ["old"]
    os.replace(path, f"{path}.1")
    path.write_text("new\n")
    assert log.fresh() == ["new"]
    assert LogFile(str(path)).last(9) == ["old", "new"]

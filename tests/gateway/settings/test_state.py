import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings.state import StateBusy, claim, command_socket, is_claimed, write_private


def test_one_gateway_per_directory(tmp_path: Path) -> None:
    directory = str(tmp_path / "deep" / "var")
    assert not is_claimed(directory)
    lock = claim(directory)
    assert is_claimed(directory)
    with pytest.raises(StateBusy, match=f"another gateway \\(process {os.getpid()}\\)"):
        claim(directory)
    os.close(lock)
    assert not is_claimed(directory)
    os.close(claim(directory))


def test_the_lock_does_not_outlive_a_killed_process(tmp_path: Path) -> None:
    code = f"from gateway.settings.state import claim; claim({str(tmp_path)!r}); print('ok', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "ok\n"
        assert is_claimed(str(tmp_path))
        child.kill()
    assert not is_claimed(str(tmp_path))


def test_folders_are_private(tmp_path: Path) -> None:
    os.close(claim(str(tmp_path / "var")))
    for folder in ("var", "var/journal", "var/logs"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700


def test_the_socket_path_is_never_too_long(tmp_path: Path) -> None:
    assert command_socket(str(tmp_path)) == f"{tmp_path}/tollkeeper.sock"
    long = tmp_path / ("x" * 120)
    assert len(os.fsencode(command_socket(str(long)))) <= 100
    assert command_socket(str(long)) == command_socket(str(long))
    assert command_socket(str(long)) != command_socket(str(long) + "y")


def test_private_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_private(str(path), "one")
    write_private(str(path), "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(UnicodeEncodeError):
        write_private(str(path), "\ud800")
    assert path.read_text() == "two"
    assert [*tmp_path.iterdir()] == [path]

"""The shim alone, started as the supervisor starts it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import gateway.engines
from tests.gateway.engines.conftest import FAKE, wait_until_gone

SHIM = str(Path(gateway.engines.__file__).with_name("shim.py"))


class Shim:
    """A shim, the pipe that keeps it alive, and what it reports."""

    def __init__(self, *command: str) -> None:
        alive, self.life = os.pipe()
        self._report, report = os.pipe()
        self.process = subprocess.Popen(
            (sys.executable, "-I", "-S", SHIM, str(alive), str(report), *command),
            pass_fds=(alive, report), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        os.close(alive)
        os.close(report)

    def read(self) -> str:
        """What it reported since the last time."""
        return os.read(self._report, 4096).decode()

    def close(self) -> None:
        if self.life >= 0:
            os.close(self.life)
            self.life = -1


@pytest.fixture
def shim() -> Iterator[Callable[..., Shim]]:
    shims: list[Shim] = []

    def start(*command: str) -> Shim:
        shims.append(Shim(*command))
        return shims[-1]

    yield start
    for one in shims:
        one.close()
        one.process.communicate(timeout=6)
        os.close(one._report)


def _fake(*flags: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", FAKE, "--port=0", *flags)


def _wait_until_it_speaks(shim: Shim) -> None:
    assert shim.process.stdout is not None
    assert shim.process.stdout.readline() == b"ready to serve\n"


def test_reports_and_returns_the_exit_code(shim: Callable[..., Shim]) -> None:
    one = shim(sys.executable, "-c", "raise SystemExit(5)")
    first = one.read()
    assert one.process.wait(5) == 5
    assert f"{first}{one.read()}".splitlines()[1:] == ["exit 5"]
    assert first.startswith("pid ")


@pytest.mark.parametrize(
    ("sent", "told", "status"), [(signal.SIGTERM, "signal 15", 143), (signal.SIGUSR1, "signal 9", 137)]
)
def test_passes_signals_on(shim: Callable[..., Shim], sent: int, told: str, status: int) -> None:
    one = shim(*_fake("--fork-child"))
    _wait_until_it_speaks(one)
    family = psutil.Process(one.process.pid).children(recursive=True)
    one.process.send_signal(sent)
    assert one.process.wait(5) == status
    assert one.read().splitlines()[-1] == told
    wait_until_gone(family, 0.5)


def test_command_that_cannot_be_executed(shim: Callable[..., Shim]) -> None:
    one = shim("/etc/passwd")
    assert one.process.wait(5) == 127
    lines = one.read().splitlines()
    assert "error /etc/passwd: Permission denied" in lines
    assert lines[-1] == "exit 127"


@pytest.mark.parametrize("flags", [(), ("--fork-child",), ("--ignore-term", "--fork-child")])
def test_end_of_the_supervisor_is_the_end(shim: Callable[..., Shim], flags: tuple[str, ...]) -> None:
    one = shim(*_fake(*flags))
    _wait_until_it_speaks(one)
    family = psutil.Process(one.process.pid).children(recursive=True)
    began = time.monotonic()
    one.close()
    one.process.wait(5)
    assert time.monotonic() - began < (3 if "--ignore-term" in flags else 1)
    wait_until_gone(family, 0.5)


def test_stopped_engine_ends_too(shim: Callable[..., Shim]) -> None:
    one = shim(*_fake())
    _wait_until_it_speaks(one)
    engine = psutil.Process(one.process.pid).children()[0]
    engine.suspend()
    while engine.status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    one.close()
    assert one.process.wait(5) == 137


def test_is_small_and_fast(shim: Callable[..., Shim]) -> None:
    began = time.monotonic()
    one = shim("sleep", "60")
    one.read()
    assert time.monotonic() - began < 3, "20 ms on a quiet machine"
    assert psutil.Process(one.process.pid).memory_info().rss < 20_000_000

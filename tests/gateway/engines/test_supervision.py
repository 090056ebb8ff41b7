"""A supervisor that is killed leaves nothing behind: its engines, their children, their ports."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.gateway.engines.conftest import wait_until_gone

_SUPERVISOR = """
import asyncio, os, sys
from gateway.engines.plan import Planned
from gateway.engines.registry import Engines
from tests.gateway.engines.conftest import make_backend

async def main(directory, flags):
    alive, life = os.pipe()
    engines = Engines(directory, alive, lambda: None)
    engines.start({name: Planned(make_backend(*flags, name=name), 1, 10) for name in ("a", "b")})
    async with asyncio.timeout(20):
        while set(engines.states().values()) != {"ready"}:
            await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main(sys.argv[1], sys.argv[2:]))
"""


@pytest.mark.parametrize("flags", [(), ("--fork-child", "--ignore-term")])
def test_sigkill_of_the_supervisor(tmp_path: Path, flags: tuple[str, ...]) -> None:
    supervisor = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, str(tmp_path), *flags], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == b"ready\n"
    family = psutil.Process(supervisor.pid).children(recursive=True)
    assert len(family) == (4 if not flags else 6)
    supervisor.kill()
    wait_until_gone(family, 4 if flags else 1)
    supervisor.communicate()


def test_supervisor_and_shims_killed_at_once(tmp_path: Path) -> None:
    """What even the shim cannot help; Linux ends the engines."""
    supervisor = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == b"ready\n"
    family = psutil.Process(supervisor.pid).children(recursive=True)
    shims = [member for member in family if "shim.py" in " ".join(member.cmdline())]
    assert len(shims) == 2
    os.kill(supervisor.pid, signal.SIGKILL)
    for shim in shims:
        shim.kill()
    wait_until_gone(family, 1)
    supervisor.communicate()


def test_event_loops_agree(tmp_path: Path) -> None:
    """uvloop starts and reaps processes in its own way; the supervisor runs on it."""
    script = _SUPERVISOR.replace("await asyncio.sleep(600)", "await engines.stop()").replace(
        "asyncio.run", "import uvloop; uvloop.run"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, b"ready\n"), done.stderr

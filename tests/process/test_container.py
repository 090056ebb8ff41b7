"""The gateway as process 1 of a container: it buries orphans that it never started, and heeds signals."""

import os
import shlex
import signal
import subprocess

import psutil
import pytest

from tests.harness import COMMAND, Gateway, config, eventually, running_gateway
from tests.load import Client, chat

UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")
ORPHANS = "(sleep 1.5 & sleep 1.6 &) ; sleep 1.7 & "  # two grandchildren without a parent, and a child of another's


def can_unshare() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not can_unshare(), reason="unshare cannot make a process namespace here")


def strays(gateway: Gateway) -> list[psutil.Process]:
    return [process for process in gateway.processes() if process.name() == "sleep"]


def first_process(gateway: Gateway) -> psutil.Process:
    """Process 1 of the namespace; the one that the test started is `unshare` itself."""
    (first,) = psutil.Process(gateway.pid).children()
    return first


async def test_as_process_1_it_reaps_strays_and_ends_on_sigterm() -> None:
    command = (*UNSHARE, "sh", "-c", f'{ORPHANS} exec {shlex.join(COMMAND)} "$@"', "sh")
    with running_gateway(config(), workers=1, command=command) as gateway:
        assert gateway.status()["pid"] == 1
        assert len(strays(gateway)) == 3
        eventually(lambda: not strays(gateway), 5.0, "strays are gone, not even zombies are left")
        worker = next(p for p in first_process(gateway).children() if "gateway.worker" in p.cmdline())
        os.kill(worker.pid, signal.SIGKILL)
        eventually(lambda: "died: signal SIGKILL" in gateway.log, 3.0, "our own children are told from strays")
        client = Client(gateway.address, gateway.key("open"))
        assert (await client.ask(chat())).status == 200
        client.close()
        gateway.note_processes()
        first_process(gateway).send_signal(signal.SIGTERM)
        assert gateway.process.wait(15) == 0

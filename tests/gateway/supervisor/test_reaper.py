"""In a process of its own that adopts orphans, as process 1 does: ours must keep its children to itself."""

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, ctypes, os, subprocess, sys
from gateway.supervisor import reaper

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
reaper._TICK = 0.02

def zombies():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                state, parent = file.read().rpartition(") ")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(int(pid))
    return found

async def main():
    ours = subprocess.Popen(["sh", "-c", "exit 5"])
    task = asyncio.get_running_loop().create_task(reaper.reap_strays(lambda pid: pid == ours.pid))
    # a child that leaves an orphan behind: the orphan becomes a child of this process
    for _ in range(3):
        left = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.1 & echo left", stdout=subprocess.PIPE)
        assert (await left.communicate())[0] == b"left\\n" and left.returncode == 0
    await asyncio.sleep(0.3)
    assert ours.pid in zombies(), "ours waits for whoever started it"
    assert ours.wait() == 5, "and tells him how it ended"
    await asyncio.sleep(0.3)
    assert zombies() == []
    task.cancel()
    print("buried")

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has processes that adopt")
def test_orphans_are_buried_and_children_left_to_their_parents() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.returncode) == ("buried\n", 0), done.stderr

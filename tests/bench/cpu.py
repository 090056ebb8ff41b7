"""CPU time and memory of a process tree, read from /proc (proc(5)). Seconds and bytes."""

import os
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROLES = {"gateway.worker": "worker", "gateway.control": "control", "shim.py": "shim", "backends.": "engine",
          "nginx": "engine"}  # fmt: skip


def tree(pid: int) -> list[int]:
    """`pid` and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def role(pid: int) -> str:
    """What a process of ours is: worker, control, shim, engine, else supervisor."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return "gone"
    return next((name for mark, name in _ROLES.items() if mark in command), "supervisor")


def seconds(pids: list[int]) -> float:
    """User and system time of the processes and of their children that have ended and were waited for."""
    stats = filter(None, map(_stat, pids))
    return sum(sum(map(int, fields[11:15])) for fields in stats) * _TICK


def seconds_by_role(pid: int) -> dict[str, float]:
    """`seconds` of a tree of ours, by role."""
    spent: dict[str, float] = {}
    for member in tree(pid):
        name = role(member)
        spent[name] = spent.get(name, 0.0) + seconds([member])
    return spent


def resident(pid: int) -> int:
    """Resident bytes of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def peak(pid: int) -> int:
    """The most bytes that one process ever had resident (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (the name may hold spaces); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []

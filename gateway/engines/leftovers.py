"""Process groups of engines, written down so that the next start can end those that outlived a supervisor.

The shim makes that next to impossible; this is for the day when shim and supervisor are killed at once. A process is
told from a later one with the same number by its start time (Linux: from /proc; elsewhere nothing is ended).
"""

import logging
import os
import signal

import msgspec

_log = logging.getLogger("tollkeeper.engines")


class Leftovers:
    """The file `path`: pid to start time of each engine that runs now."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._running: dict[str, str] = {}

    def end(self) -> int:
        """Kill what an earlier supervisor left; returns how many there were."""
        ended = 0
        for pid, started in self._read().items():
            if started and _read_start(int(pid)) == started:
                os.killpg(int(pid), signal.SIGKILL)
                ended += 1
        return ended

    def add(self, pid: int) -> None:
        """Write a group down; a disk that is full costs the note, not the engine."""
        self._running[str(pid)] = _read_start(pid)
        self._write()

    def remove(self, pid: int) -> None:
        self._running.pop(str(pid), None)
        self._write()

    def _read(self) -> dict[str, str]:
        try:
            with open(self._path, "rb") as file:
                return msgspec.json.decode(file.read(), type=dict[str, str])
        except (FileNotFoundError, msgspec.DecodeError):  # a first start; a write that was cut off
            return {}

    def _write(self) -> None:
        draft = f"{self._path}.new"
        try:
            with open(draft, "wb", opener=_open_private) as file:
                file.write(msgspec.json.encode(self._running))
            os.replace(draft, self._path)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._path, error)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read_start(pid: int) -> str:
    """When a process was started, unique over reboots; empty when that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = file.read().rpartition(b")")[2].split()[19]  # proc(5): field 22, the second may hold blanks
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {ticks.decode()}"
    except OSError:
        return ""

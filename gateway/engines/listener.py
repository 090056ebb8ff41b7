"""Ports of engines: finding a free one, and telling who listens on it (Linux: from /proc; elsewhere unknown)."""

import contextlib
import os
import socket
from collections.abc import Iterator

_LISTEN = "0A"  # TCP_LISTEN, linux/include/net/tcp_states.h
_LOOPBACK = ("0100007F", "00000000000000000000000001000000")  # 127.0.0.1 and ::1 as /proc/net/tcp and tcp6 write them


def pick_port() -> int:
    """A port of 127.0.0.1 that is free now. Somebody may take it first: see `find_foreigner`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def find_foreigner(port: int, group: int) -> str | None:
    """Why `port` must not be used, or None: each listener must belong to the process group and stand on loopback."""
    if not os.path.exists("/proc/net/tcp"):
        return None
    listeners = list(_listeners(port))
    if any(address not in _LOOPBACK for address, _ in listeners):
        return f"listens on port {port} of every address, not on 127.0.0.1 alone"
    own = _sockets(group)
    return None if all(inode in own for _, inode in listeners) else f"port {port} was taken by another process"


def _listeners(port: int) -> Iterator[tuple[str, str]]:
    """The address and the socket's inode of each listener on `port`."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except FileNotFoundError:  # no IPv6
            continue
        for row in rows:
            address, _, number = row[1].partition(":")
            if row[3] == _LISTEN and int(number, 16) == port:
                yield address, row[9]


def _sockets(group: int) -> set[str]:
    """The inodes of all sockets that processes of `group` have open."""
    found: set[str] = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to look into
            if os.getpgid(int(pid)) == group:
                found.update(_sockets_of(f"/proc/{pid}/fd"))
    return found


def _sockets_of(folder: str) -> Iterator[str]:
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):  # it was closed meanwhile
            link = os.readlink(f"{folder}/{name}")
            if link.startswith("socket:["):
                yield link[len("socket:[") : -1]

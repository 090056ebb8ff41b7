"""Listening sockets: bound by the supervisor once, inherited by every worker of every generation."""

import contextlib
import errno
import os
import socket
import stat

from gateway.settings.address import Address, parse_address

_BACKLOG = 4096


class AddressTaken(OSError):
    """Somebody else listens there."""


class Listeners:
    """The sockets of the addresses in force. A reload keeps those it shares with its predecessor."""

    def __init__(self) -> None:
        self._open: dict[str, socket.socket] = {}

    def bind(self, addresses: list[str]) -> list[socket.socket]:
        """Sockets for `addresses`, in order; new ones are bound. Raises OSError with a sentence, and binds nothing."""
        fresh: dict[str, socket.socket] = {}
        try:
            for text in addresses:
                if text not in self._open and text not in fresh:
                    fresh[text] = listen(parse_address(text))
        except OSError:
            for sock in fresh.values():
                _close(sock)
            raise
        self._open |= fresh
        return [self._open[text] for text in addresses]

    def keep_only(self, addresses: list[str]) -> None:
        """Close what no generation will use again."""
        for text in self._open.keys() - set(addresses):
            _close(self._open.pop(text))

    def names(self) -> list[str]:
        """The addresses as bound: a port 0 has become a real one."""
        return [_name(sock) for sock in self._open.values()]

    def descriptors(self) -> tuple[int, ...]:
        return tuple(sock.fileno() for sock in self._open.values())

    def close(self) -> None:
        self.keep_only([])


def listen(address: Address) -> socket.socket:
    """A listening socket. Raises AddressTaken, or OSError with a sentence."""
    if address.path:
        return _listen_unix(address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address.host, address.port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressTaken(f"{address} is taken: another program listens there") from None
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from None
    return sock


def _listen_unix(address: Address) -> socket.socket:
    """A socket file left behind by a dead process is replaced; a living one's is not."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(address.path).st_mode):
                raise OSError("the file exists and is no socket")
            if not _is_dead(address.path):
                raise AddressTaken(f"{address} is taken: another program listens there")
            os.unlink(address.path)
        sock.bind(address.path)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except AddressTaken:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from None
    return sock


def _is_dead(path: str) -> bool:
    """Nobody listens at this socket file. One that may not be asked is not ours to replace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _name(sock: socket.socket) -> str:
    bound = sock.getsockname()
    if isinstance(bound, str):
        return f"unix:{bound}"
    host, port = bound[0], bound[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _close(sock: socket.socket) -> None:
    name = sock.getsockname()
    sock.close()
    if isinstance(name, str) and name:
        with contextlib.suppress(OSError):
            os.unlink(name)

"""The command socket: how `tollkeeper reload`, `status` and the others reach a running gateway.

It speaks the link's frames. Who may open it is decided by its mode: 0600, the owner.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import gateway
from gateway.link import Command, Done, Failed, Hello, Link

Commands = Callable[[Command, str], Awaitable[Done | Failed]]
_PEER = struct.Struct("3i")  # pid, uid, gid


class CommandSocket:
    """Listens at `path` for as long as the gateway lives. `obey` is told the command, and who gives it."""

    def __init__(self, path: str, obey: Commands) -> None:
        self._path = path
        self._obey = obey
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Replace a socket left behind by a dead gateway: the lock on the state directory says that it is dead."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            sock.bind(self._path)
        finally:
            os.umask(before)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Caller(self._obey), sock=sock)

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            with suppress(FileNotFoundError):
                os.unlink(self._path)


class _Caller(Link):
    """The link to one command."""

    def __init__(self, obey: Commands) -> None:
        super().__init__(self._answer_command)
        self._obey = obey
        self._actor = "operator"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if hasattr(socket, "SO_PEERCRED"):  # Linux
            sock = transport.get_extra_info("socket")
            pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            self._actor = f"operator uid {uid} pid {pid}"

    def _answer_command(self, message: Any) -> Any:
        match message:
            case Hello() if message.version != gateway.__version__:
                return Failed(f"version {gateway.__version__} runs, this command is {message.version}: restart needed")
            case Command():
                return self._obey(message, self._actor)
        return Done()

"""The command socket: how `tollkeeper reload`, `status` and the others reach a running gateway.

It speaks the link's frames. Who may open it is decided by its mode: 0600, the owner.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import gateway
from gateway.link import Command, Done, Failed, Hello, Link

Commands = Callable[[Command], Awaitable[Done | Failed]]


class CommandSocket:
    """Listens at `path` for as long as the gateway lives."""

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
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: Link(self._receive), sock=sock)

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            with suppress(FileNotFoundError):
                os.unlink(self._path)

    def _receive(self, message: Any) -> Any:
        match message:
            case Hello() if message.version != gateway.__version__:
                return Failed(f"version {gateway.__version__} runs, this command is {message.version}: restart needed")
            case Command():
                return self._obey(message)
        return Done()

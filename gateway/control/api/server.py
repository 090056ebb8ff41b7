"""The doors in service: the unix socket for workers, and the admin address where there is one."""

import hmac
import os
import socket
from collections.abc import Iterable
from contextlib import suppress

from aiohttp import web

from gateway.control.api.call import Caller
from gateway.control.api.door import make_application
from gateway.control.api.endpoint import Endpoint
from gateway.control.api.house import House
from gateway.errors import GatewayError
from gateway.link import door

_CLOSE = 1.0  # seconds that running answers get when control ends


class Servers:
    """`token` is what workers show. `admin` is the admin address's socket, bound by the supervisor, and its guard."""

    def __init__(self, endpoints: Iterable[Endpoint], house: House, path: str, token: str) -> None:
        self._endpoints = tuple(endpoints)
        self._house = house
        self._path = path
        self._token = token
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Raises OSError where the socket cannot be made."""
        application = make_application(self._endpoints, "client", self._house, self._identify)
        await self._serve(application, _bind_private(self._path))

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        with suppress(FileNotFoundError):
            os.unlink(self._path)

    async def _serve(self, application: web.Application, sock: socket.socket) -> None:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSE, handle_signals=False)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, sock).start()

    def _identify(self, request: web.Request) -> Caller:
        """Whom the worker says it let in. Nobody but a worker has the token."""
        headers = request.headers
        if not hmac.compare_digest(headers.get(door.TOKEN, "").encode(), self._token.encode()):
            raise GatewayError(1001, "This socket is for the gateway's own workers.")
        permissions = headers.get(door.PERMISSIONS)
        return Caller(
            consumer=headers.get("X-Consumer-ID", ""),
            project=headers.get("X-Consumer-Project", ""),
            role=headers.get("X-Consumer-Role", ""),
            permissions=None if permissions is None else frozenset(filter(None, permissions.split(","))),
            request_id=headers.get("X-Request-ID", ""),
            address=headers.get("X-Forwarded-For", ""),
        )


def _bind_private(path: str) -> socket.socket:
    """A socket file that nobody else may open, in place of one that a dead predecessor left."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(before)
    return sock

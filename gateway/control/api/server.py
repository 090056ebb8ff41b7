"""The doors in service: the unix socket for workers, and the admin address where there is one."""

import hmac
import os
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress

from aiohttp import web

from gateway.control.api.call import Caller
from gateway.control.api.door import REQUEST_ID, make_application
from gateway.control.api.endpoint import Door, Endpoint
from gateway.control.api.gate import Gate
from gateway.control.api.house import House
from gateway.control.api.stopwatch import Stopwatch
from gateway.errors import GatewayError
from gateway.link import door
from gateway.metrics import Board
from gateway.relay.ids import Ids

_CLOSE = 1.0  # seconds that running answers get when control ends
_is_request_id = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


class Servers:
    """`path` is of the unix socket, `token` what workers show there.

    `admin` is the descriptor of the admin address, which the supervisor has bound; None where there is none.
    """

    def __init__(
        self, endpoints: Iterable[Endpoint], house: House, path: str, token: str, admin: int | None, board: Board
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._house = house
        self._path = path
        self._token = token
        self._admin = admin
        self._board = board
        self._new_id = Ids()
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Raises OSError where the socket cannot be made."""
        application = make_application(self._endpoints, "client", self._house, _told_id, self._identify)
        await self._serve(application, "client", _bind_private(self._path))
        if self._admin is not None:
            gate = Gate(lambda: self._house.config().admin, time.monotonic)
            application = make_application(self._endpoints, "admin", self._house, self._name, gate)
            application.on_response_prepare.append(_sign)
            await self._serve(application, "admin", socket.socket(fileno=self._admin))

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        with suppress(FileNotFoundError):
            os.unlink(self._path)

    async def _serve(self, application: web.Application, name: Door, sock: socket.socket) -> None:
        Stopwatch(self._board, name).watch(application)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSE, handle_signals=False)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, sock).start()

    def _name(self, request: web.Request) -> str:
        """What the operator calls his request, where that is plain; else an id of ours."""
        named = request.headers.get("X-Request-ID", "")
        return named if _is_request_id(named) else self._new_id()

    def _identify(self, request: web.Request, request_id: str) -> Caller:
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
            request_id=request_id,
            address=headers.get("X-Forwarded-For", ""),
        )


def _told_id(request: web.Request) -> str:
    return request.headers.get("X-Request-ID", "")


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer of the admin address says; the proxy says the like by itself."""
    response.headers["Server"] = "tollkeeper"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Request-ID"] = request[REQUEST_ID]


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

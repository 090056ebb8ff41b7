"""How long control takes for its answers: the metric `api_seconds`, of one door."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.metrics import Board

_BEGAN: web.RequestKey[float] = web.RequestKey("began", float)


class Stopwatch:
    """To the head of each answer: a stream may last for hours."""

    def __init__(self, board: Board, door: str) -> None:
        self._board = board
        self._door = door

    def watch(self, application: web.Application) -> None:
        application.middlewares.insert(0, _begin)
        application.on_response_prepare.append(self._end)

    async def _end(self, request: web.Request, response: web.StreamResponse) -> None:
        if _BEGAN not in request:  # what could not be read reached no handler
            return
        resource = request.match_info.route.resource
        endpoint = f"{request.method} {resource.canonical}" if resource is not None else ""
        index = self._board.index("api_seconds", self._door, endpoint)
        self._board.observe(index, time.monotonic() - request[_BEGAN])


@web.middleware
async def _begin(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[_BEGAN] = time.monotonic()
    return await handler(request)

"""The status address: /health, /ready and /metrics. No key, and no backend is touched by a look at it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.exposition import Fold

if TYPE_CHECKING:
    from aiohttp import web

Readiness = Callable[[], tuple[bool, dict[str, Any]]]
_TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


class StatusServer:
    """`readiness` says whether requests are answered now, and what stands in the way."""

    def __init__(self, fold: Fold, readiness: Readiness) -> None:
        self._fold = fold
        self._readiness = readiness
        self._runner: web.AppRunner | None = None

    async def start(self, sock: Any) -> None:
        from aiohttp import web  # workers start meanwhile: nobody waits for this import

        app = web.Application()
        for path in ("/health", "/health/live", "/health/liveliness"):
            app.router.add_get(path, self._health)
        for path in ("/ready", "/health/readiness"):
            app.router.add_get(path, self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: "web.Request") -> "web.Response":
        return _answer(200, {"status": "ok"})

    async def _ready(self, _: "web.Request") -> "web.Response":
        is_ready, details = self._readiness()
        return _answer(200 if is_ready else 503, {"status": "ready" if is_ready else "not ready", **details})

    async def _metrics(self, _: "web.Request") -> "web.Response":
        from aiohttp import web

        return web.Response(body=self._fold.exposition(), headers=_TEXT)


def _answer(status: int, data: dict[str, Any]) -> "web.Response":
    from aiohttp import web

    return web.Response(status=status, body=msgspec.json.encode(data), content_type="application/json")

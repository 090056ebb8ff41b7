"""A stream of server-sent events (WHATWG HTML, 9.2)."""

from typing import Any

import msgspec
from aiohttp import web

PULSE = 15.0  # seconds between two comments, where nothing else is said: nobody on the way takes it for dead

_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Events:
    """Sends events to one reader. Every method raises ConnectionError when he has gone."""

    def __init__(self, request: web.Request) -> None:
        self.response = web.StreamResponse(headers=_HEADERS)
        self._request = request

    async def open(self) -> None:
        await self.response.prepare(self._request)

    async def tell(self, data: Any, event: str = "", id: str = "") -> None:
        """One event; `data` is anything that is JSON."""
        lines = [f"id: {id}\n"] * bool(id) + [f"event: {event}\n"] * bool(event)
        await self.response.write("".join(lines).encode() + b"data: " + msgspec.json.encode(data) + b"\n\n")

    async def pulse(self) -> None:
        await self.response.write(b": still here\n\n")

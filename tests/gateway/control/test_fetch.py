import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.control import fetch as module
from gateway.control.fetch import LARGEST, fetch

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(handler: Handler) -> AsyncIterator[str]:
    server = web.Server(handler)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    finally:
        await runner.cleanup()


async def test_a_document_is_fetched() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * LARGEST)

    async with serve(answer) as url:
        assert await fetch(url) == b"x" * LARGEST


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (lambda: web.Response(status=404), "answered 404"),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302"),
        (lambda: web.Response(body=b"x" * (LARGEST + 1)), "more than"),
        (lambda: web.Response(body=b"not zipped at all", headers={"Content-Encoding": "gzip"}), "cannot be fetched"),
    ],
)
async def test_anything_else_is_an_error(response: Callable[[], web.Response], reason: str) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return response()

    async with serve(answer) as url:
        with pytest.raises(OSError, match=reason):
            await fetch(url)


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    async with serve(answer) as url:
        with pytest.raises(OSError, match="did not answer"):
            await fetch(url)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:1/", "http://", "nonsense", "http://[::1"])
async def test_what_cannot_be_reached_is_an_error(url: str) -> None:
    with pytest.raises(OSError):
        await fetch(url)

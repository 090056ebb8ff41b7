"""Active checks against real servers: what counts as good."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.backend import Health
from gateway.settings.units import Seconds
from gateway.supervisor.probe import Probe


async def _answer(request: web.Request) -> web.Response:
    if request.path.endswith("/401") and request.headers.get("Authorization") == "Bearer ours":
        return web.Response()
    return web.Response(status=int(request.path.removeprefix("/status/")), headers={"Location": "/status/200"})


@pytest.fixture
async def runner() -> AsyncIterator[web.AppRunner]:
    app = web.Application()
    app.router.add_get("/status/{code}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    yield runner
    await runner.cleanup()


@pytest.fixture
async def url(runner: web.AppRunner) -> str:
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.mark.parametrize(("status", "good"), [(200, True), (204, True), (302, False), (404, False), (503, False)])
async def test_a_2xx_is_good_and_nothing_else(url: str, status: int, good: bool) -> None:
    assert await Probe(url, Health(path=f"/status/{status}"), None).is_good() is good


async def test_a_path_prefix_stands_before_the_check(url: str) -> None:
    assert await Probe(f"{url}/status/", Health(path="/200"), None).is_good()


async def test_a_server_that_wants_a_key_gets_ours(url: str) -> None:
    check = Health(path="/status/401")
    assert not await Probe(url, check, None).is_good()
    assert await Probe(url, check, None, {"Authorization": "Bearer ours"}).is_good()


async def test_a_unix_socket_is_asked(runner: web.AppRunner, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    await web.UnixSite(runner, str(path)).start()
    assert await Probe(f"unix:{path}", Health(path="/status/200"), None).is_good()


async def test_nobody_there_is_not_good() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    assert not await Probe(f"http://127.0.0.1:{port}", Health(), None).is_good()


async def test_silence_is_not_good() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        assert not await Probe(address, Health(timeout=Seconds(0.1)), None).is_good()

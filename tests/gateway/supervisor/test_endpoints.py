"""Real endpoints on loopback, whose health changes."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from gateway.link import EndpointStates, Observation, Trial
from gateway.loader import load_backend
from gateway.supervisor.breaker import LEAST, OPEN, TRIALS
from gateway.supervisor.endpoints import Endpoints
from gateway.supervisor.poison import MEMORY


class Server:
    """One endpoint; `status` is what its health page says."""

    def __init__(self) -> None:
        self.status = 200
        self.probed = 0
        self.url = ""

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/health", self._health)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _health(self, _: web.Request) -> web.Response:
        self.probed += 1
        return web.Response(status=self.status)


@pytest.fixture
async def servers() -> AsyncIterator[list[Server]]:
    made = [Server(), Server()]
    runners = [await server.start() for server in made]
    yield made
    for runner in runners:
        await runner.cleanup()


class Watched:
    """Endpoints and what the workers were told."""

    def __init__(self, *urls: str, check: bool) -> None:
        self.told: list[EndpointStates] = []
        self.now = 100.0
        health = {"interval": 0.02, "timeout": 0.5, "healthy": 2, "unhealthy": 2}
        settings = {"endpoints": [{"url": url} for url in urls], **({"health": health} if check else {})}
        backends = {"fleet": load_backend("fleet", "http", settings), "engine": load_backend("engine", "echo", {})}
        self.endpoints = Endpoints(backends, self.told.append, lambda: self.now)

    def fail(self, url: str, times: int = 5, backend: str = "fleet") -> None:
        for _ in range(times):
            self.endpoints.observe(Observation(backend, url, False, "endpoint", "acme"))


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_probes_take_an_endpoint_down_and_up_again(servers: list[Server]) -> None:
    bad, good = servers
    watched = Watched(bad.url, good.url, check=True)
    watched.endpoints.start()
    try:
        await eventually(lambda: bad.probed and good.probed)
        assert watched.told == []
        bad.status = 503
        await eventually(lambda: watched.told)
        assert watched.told == [EndpointStates({"fleet": (bad.url,)})]
        assert watched.endpoints.readings() == [(("fleet", bad.url), 0.0), (("fleet", good.url), 1.0)]
        bad.status = 204
        await eventually(lambda: len(watched.told) > 1)
        assert watched.told[1:] == [EndpointStates({})]
    finally:
        watched.endpoints.stop()
    await asyncio.sleep(0.05)
    probed = good.probed
    await asyncio.sleep(0.1)
    assert good.probed == probed, "nobody is asked any more"


async def test_observations_open_time_half_opens_trials_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.supervisor.endpoints._TICK", 0.02)
    monkeypatch.setattr("random.uniform", lambda low, high: 1.0)
    watched = Watched("http://a", "http://b", check=False)
    watched.endpoints.start()
    try:
        watched.fail("http://a", times=4)
        assert watched.told == []
        watched.fail("http://a", times=3)
        down = {"fleet": ("http://a",)}
        assert watched.told == [EndpointStates(down)], "told once"
        assert not watched.endpoints.give_trial(Trial("fleet", "http://a"))
        watched.now += OPEN
        await eventually(lambda: len(watched.told) > 1)
        assert watched.told[1:] == [EndpointStates(down, down)]
        given = [watched.endpoints.give_trial(Trial("fleet", "http://a")) for _ in range(TRIALS + 1)]
        assert given == [True] * TRIALS + [False]
        assert watched.told[2:] == [EndpointStates(down)], "no worker asks in vain"
        for _ in range(TRIALS):
            watched.endpoints.observe(Observation("fleet", "http://a", True, trial=True))
        assert watched.told[3:] == [EndpointStates({})]
        assert watched.endpoints.states() == EndpointStates({})
    finally:
        watched.endpoints.stop()


async def test_where_none_is_left_the_workers_know_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 1.0)
    watched = Watched("http://a", check=False)
    watched.fail("http://a", times=LEAST)
    assert watched.told == [EndpointStates({"fleet": ("http://a",)}, {}, {"fleet": OPEN})]
    assert not watched.endpoints.give_trial(Trial("gone", "http://a"))


async def test_good_answers_in_between_are_heard_of() -> None:
    watched = Watched("http://a", "http://b", check=False)
    for _ in range(100):
        watched.endpoints.observe(Observation("fleet", "http://a", False, "endpoint", "acme", good=2))
    assert watched.told == []


async def test_a_good_answer_clears_suspicion() -> None:
    watched = Watched("http://a", "http://b", check=False)
    for _ in range(3):
        watched.fail("http://a", times=4)
        watched.endpoints.observe(Observation("fleet", "http://a", True))
    assert watched.told == []


async def test_what_an_old_generation_still_sees_of_others_is_ignored() -> None:
    watched = Watched("http://a", "http://b", check=False)
    watched.fail("http://gone")
    watched.fail("http://a", backend="gone")
    watched.fail("http://a", backend="engine")
    assert watched.told == []


async def test_workers_hear_of_bodies_that_engines_died_of() -> None:
    watched = Watched("http://a", check=False)
    for run in ("run-1", "run-1", "run-2", "run-3"):
        watched.endpoints.observe(Observation("engine", "", False, "engine", body=b"digest", load=run))
    assert watched.told == [EndpointStates({}, poison={b"digest": MEMORY})]

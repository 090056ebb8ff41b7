import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.exposition import Fold
from gateway.settings.address import parse_address
from gateway.supervisor.listening import listen
from gateway.supervisor.status import StatusServer


class Served:
    def __init__(self) -> None:
        self.ready = True
        self.fold = Fold()
        self.url = ""

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        return self.ready, {"generation": 3, "draining": not self.ready}

    async def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path) as answer:
            return answer.status, answer.content_type, await answer.text()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    server = StatusServer(served.fold, served.readiness)
    sock = listen(parse_address("127.0.0.1:0"))
    served.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    await server.start(sock)
    yield served
    await server.stop()
    sock.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/liveliness"])
async def test_who_answers_is_alive(served: Served, path: str) -> None:
    served.ready = False
    assert await served.get(path) == (200, "application/json", '{"status":"ok"}')


@pytest.mark.parametrize("path", ["/ready", "/health/readiness"])
async def test_readiness_says_what_stands_in_the_way(served: Served, path: str) -> None:
    status, _, body = await served.get(path)
    assert (status, json.loads(body)) == (200, {"status": "ready", "generation": 3, "draining": False})
    served.ready = False
    status, _, body = await served.get(path)
    assert (status, json.loads(body)["status"]) == (503, "not ready")


async def test_metrics_are_prometheus_text(served: Served) -> None:
    served.fold.gauge("config_generation", lambda: [((), 3.0)])
    served.fold.own.add(served.fold.own.index("worker_restarts_total"))
    status, kind, body = await served.get("/metrics")
    assert (status, kind) == (200, "text/plain")
    assert "\ntollkeeper_config_generation 3.0\n" in body
    assert "\ntollkeeper_worker_restarts_total 1.0\n" in body


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/v1/models", 404), ("POST", "/health", 405)]
)
async def test_nothing_else_is_served(served: Served, method: str, path: str, status: int) -> None:
    assert (await served.get(path, method))[0] == status


async def test_a_server_that_never_started_stops() -> None:
    await StatusServer(Fold(), lambda: (True, {})).stop()

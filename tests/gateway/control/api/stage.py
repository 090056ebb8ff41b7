"""Control's API on a socket of its own, without a gateway: callers are who the tests say they are."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from gateway.control.api.call import Caller
from gateway.control.api.door import make_application
from gateway.control.api.endpoint import Door, Endpoint
from gateway.control.api.house import House
from gateway.control.store import Store
from gateway.settings.schema import Config, Trace
from tests.gateway.control.records import NOON

ADMIN = Caller("admin", is_admin=True)


class Stage:
    """Clients of both doors. `now` is what control's clock shows."""

    def __init__(self, house: House, client: TestClient[web.Request, web.Application]) -> None:
        self.house = house
        self.client = client
        self.now = NOON
        self.caller = ADMIN

    async def call(self, method: str, path: str, caller: Caller = ADMIN, **how: Any) -> ClientResponse:
        self.caller = caller
        answer = await self.client.request(method, path, **how)
        await answer.read()
        return answer

    async def get(self, path: str, caller: Caller = ADMIN, **parameters: Any) -> Any:
        """The body of what has to be a success."""
        answer = await self.call("GET", path, caller, params=parameters)
        body = msgspec.json.decode(await answer.read())
        assert answer.status == 200, body
        return body

    async def post(self, path: str, content: Any, caller: Caller = ADMIN, status: int = 200, **parameters: Any) -> Any:
        answer = await self.call("POST", path, caller, params=parameters, json=content)
        body = msgspec.json.decode(await answer.read())
        assert answer.status == status, body
        return body

    async def refusal(
        self, path: str, caller: Caller = ADMIN, content: Any = None, **parameters: Any
    ) -> tuple[int, str]:
        """The number of the error, and the parameter that it names."""
        method = "GET" if content is None else "POST"
        answer = await self.call(method, path, caller, params=parameters, json=content)
        error = msgspec.json.decode(await answer.read())["error"]
        return error["number"], error["param"]


@asynccontextmanager
async def playing(
    store: Store, endpoints: tuple[Endpoint, ...], config: Config | None = None, door: Door = "client"
) -> AsyncIterator[Stage]:
    """The endpoints, served over `store` for the time of the block."""
    stage: Stage
    made = Config(trace=Trace(environment="production")) if config is None else config
    with ThreadPoolExecutor(1) as writer:
        house = House(store, lambda: stage.now, lambda: made, writer, "", _nobody, _nobody, _nobody)
        application = make_application(endpoints, door, house, lambda _: "r", lambda *_: stage.caller)
        async with TestClient(TestServer(application)) as client:
            stage = Stage(house, client)
            yield stage
        house.close()


async def _nobody(_command: object) -> Any:
    raise AssertionError("no command is expected")

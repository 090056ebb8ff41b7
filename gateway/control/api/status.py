"""The gateway as a whole, for operators: how it does, read its file again, end it."""

from typing import Any

import msgspec

from gateway.control.api.call import Call, Found, Query
from gateway.control.api.endpoint import ADMIN, Endpoint


class Reloaded(msgspec.Struct, frozen=True):
    generation: int


class Draining(msgspec.Struct, frozen=True):
    draining: bool


async def show_status(call: Call[Query, None]) -> Found:
    return Found(await call.house.ask("status"))


async def reload(call: Call[Query, None]) -> Found:
    """The file as it stands now; 1401 with what is wrong with it changes nothing."""
    return Found(await call.house.ask("reload"))


async def drain(call: Call[Query, None]) -> Found:
    await call.house.ask("drain")
    return Found(Draining(True), status=202)


ENDPOINTS = (
    Endpoint(method="GET", path="/admin/status", summary="Processes, engines, endpoints", handler=show_status,
             answer=dict[str, Any], doors=ADMIN),
    Endpoint(method="POST", path="/admin/reload", summary="Read the configuration file again", handler=reload,
             answer=Reloaded, doors=ADMIN, errors=(1401,)),
    Endpoint(method="POST", path="/admin/drain", summary="Finish what runs, and end", handler=drain, answer=Draining,
             doors=ADMIN, status=202),
)  # fmt: skip

"""Engines and models, for operators: what runs, what it prints, load it, unload it."""

import asyncio
import os
from typing import Annotated, Any

import msgspec

from gateway.control.api.call import Call, Found, Listed, Query, Result
from gateway.control.api.endpoint import ADMIN, Endpoint
from gateway.control.api.events import PULSE, Events
from gateway.control.api.log_file import LogFile
from gateway.errors import GatewayError
from gateway.settings.state import logs_folder

_STEP = 0.25  # seconds between two looks at what an engine prints
_PATIENCE = 50.0  # seconds that a call waits for an engine; the engine goes on after that

Json = dict[str, Any]


class LogQuery(Query, frozen=True, kw_only=True):
    """`follow`: lines as they come, as events; else the last ones, once."""

    lines: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 200
    follow: bool = False


class Log(msgspec.Struct, frozen=True):
    lines: list[str]


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model, or the engine behind it. With a patience of 0 seconds the answer comes at once."""

    model: str
    patience: Annotated[float, msgspec.Meta(ge=0, le=600)] = _PATIENCE


async def list_engines(call: Call[Query, None]) -> Listed:
    engines = (await call.house.ask("status"))["engines"]
    return Listed([{"id": name, **engine} for name, engine in engines.items()])


async def show_engine(call: Call[Query, None]) -> Found:
    return Found(await _find(call))


async def show_log(call: Call[LogQuery, None]) -> Result:
    engine, query = await _find(call), call.query
    log = LogFile(os.path.join(logs_folder(call.house.directory), f"{engine['id']}.log"))
    lines = await asyncio.to_thread(log.last, query.lines)
    if not query.follow:
        return Found(Log(lines))
    events = Events(call.request)
    await events.open()
    quiet = 0.0
    while True:
        for line in lines:
            await events.tell({"line": line})
        quiet = 0.0 if lines else quiet + _STEP
        if quiet >= PULSE:
            quiet = 0.0
            await events.pulse()
        await asyncio.sleep(_STEP)
        lines = await asyncio.to_thread(log.fresh)


async def list_models(call: Call[Query, None]) -> Listed:
    return Listed(await call.house.ask("models.list"))


async def load_model(call: Call[Query, Wish]) -> Found:
    return Found(await _do(call, "models.load"))


async def unload_model(call: Call[Query, Wish]) -> Found:
    return Found(await _do(call, "models.unload"))


async def _do(call: Call[Query, Wish], command: str) -> Any:
    wish, config = call.body, call.house.config()
    if wish.model not in config.backends and not any(row["model"] == wish.model for row in await _models(call)):
        raise GatewayError(1302, f"There is no model and no engine {wish.model[:200]!r}.", param="model")
    return await call.house.ask(command, model=wish.model, patience=wish.patience)


async def _models(call: Call[Any, Any]) -> list[Json]:
    rows: list[Json] = await call.house.ask("models.list")
    return rows


async def _find(call: Call[Any, Any]) -> Json:
    id = call.path["id"]
    engines = (await call.house.ask("status"))["engines"]
    if id not in engines:
        raise GatewayError(1303, f"There is no engine {id[:200]!r} of ours.")
    return {"id": id, **engines[id]}


_REFUSALS = (1108, 1302, 1401, 1707, 1708, 1709, 1714, 1716, 1808)

ENDPOINTS = (
    Endpoint(method="GET", path="/admin/engines", summary="All engines", handler=list_engines, answer=Json,
             form="list", doors=ADMIN),
    Endpoint(method="GET", path="/admin/engines/{id}", summary="One engine", handler=show_engine, answer=Json,
             doors=ADMIN),
    Endpoint(method="GET", path="/admin/engines/{id}/logs", summary="What an engine printed, or prints",
             handler=show_log, query=LogQuery, answer=Log, doors=ADMIN, media=("text/event-stream",)),
    Endpoint(method="GET", path="/admin/models", summary="All models, and whether each is loaded", handler=list_models,
             answer=Json, form="list", doors=ADMIN),
    Endpoint(method="POST", path="/admin/models/load", summary="Load a model", handler=load_model, body=Wish,
             answer=Json, doors=ADMIN, errors=_REFUSALS),
    Endpoint(method="POST", path="/admin/models/unload", summary="Unload a model once nobody uses it",
             handler=unload_model, body=Wish, answer=Json, doors=ADMIN, errors=_REFUSALS),
)  # fmt: skip

"""Models of the hub, for operators: pull them onto this machine, see how far that is, see and prune what lies there."""

import asyncio
import importlib
from typing import Annotated, Any

import msgspec

from gateway.control.api.call import Call, Found, Listed, Query, Result
from gateway.control.api.endpoint import ADMIN, Endpoint
from gateway.control.api.events import PULSE, Events
from gateway.control.consumer import DirectoryError
from gateway.control.pulls import Pull
from gateway.errors import GatewayError

_MODEL = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(:[^:\x00]+)?$"


class PullWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`org/name`, or `org/name:file`, where * stands for anything."""

    model: Annotated[str, msgspec.Meta(pattern=_MODEL, max_length=300)]


class Held(msgspec.Struct, frozen=True):
    """A version of a model, or a part of one whose pull broke off; `size` in bytes."""

    model: str
    version: str
    size: int
    refs: str


class PruneWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """These models, whole; empty: what broke off, and versions that newer ones have replaced."""

    models: tuple[str, ...] = ()


class Pruned(msgspec.Struct, frozen=True):
    """`freed` in bytes."""

    freed: int
    deleted: list[Held]


async def start_pull(call: Call[Query, PullWish]) -> Found:
    try:
        return Found(await call.house.pulls.start(call.body.model), status=202)
    except DirectoryError as error:
        raise GatewayError(1401, f"{error}.", param="model") from None


async def list_pulls(call: Call[Query, None]) -> Listed:
    return Listed(call.house.pulls.list_all())


async def show_pull(call: Call[Query, None]) -> Found:
    return Found(_find(call))


async def cancel_pull(call: Call[Query, None]) -> Found:
    """What came is kept: the next pull of the model goes on there."""
    pull = _find(call)
    call.house.pulls.cancel(pull)
    return Found(pull)


async def follow_pull(call: Call[Query, None]) -> Result:
    """The pull as it is, each time it has changed; the stream ends with the pull."""
    pull, events = _find(call), Events(call.request)
    await events.open()
    told = b""
    while True:
        now = msgspec.json.encode(pull)
        if now != told:
            await events.tell(pull, "done" if pull.is_over else "progress")
        else:
            await events.pulse()
        told = now
        if pull.is_over:
            return events.response
        if msgspec.json.encode(pull) == told:
            await call.house.pulls.wait(PULSE)


async def list_cache(call: Call[Query, None]) -> Listed:
    held = await asyncio.to_thread(_cache().list_held)
    return Listed([_show(one) for one in held])


async def prune_cache(call: Call[Query, PruneWish]) -> Found:
    cache, models = _cache(), call.body.models

    def prune() -> Pruned:
        held = cache.list_held()
        if absent := sorted(set(models) - {one.model for one in held}):
            raise GatewayError(1303, f"Not in the cache: {', '.join(absent)[:300]}.", param="models")
        doomed = [one for one in held if (one.model in models if models else not one.refs)]
        return Pruned(cache.delete(doomed), [_show(one) for one in doomed])

    return Found(await asyncio.to_thread(prune))


def _find(call: Call[Any, Any]) -> Pull:
    pull = call.house.pulls.find(call.path["id"])
    if pull is None:
        raise GatewayError(1303, "There is no pull with this id; the last fifty are remembered.")
    return pull


def _show(held: Any) -> Held:
    return Held(held.model, held.version, held.size, held.refs)


def _cache() -> Any:
    """The hub's library is an extra, imported where it is needed."""
    try:
        return importlib.import_module("gateway.hub.cache")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gateway"):
            raise
        raise GatewayError(1401, "The hub's library is missing: pip install 'tollkeeper[hub]'.") from None


ENDPOINTS = (
    Endpoint(method="POST", path="/admin/models/pull", summary="Fetch a model from the hub", handler=start_pull,
             body=PullWish, answer=Pull, doors=ADMIN, status=202, errors=(1401,)),
    Endpoint(method="GET", path="/admin/pulls", summary="Pulls, the newest first", handler=list_pulls, answer=Pull,
             form="list", doors=ADMIN),
    Endpoint(method="GET", path="/admin/pulls/{id}", summary="One pull", handler=show_pull, answer=Pull, doors=ADMIN),
    Endpoint(method="DELETE", path="/admin/pulls/{id}", summary="Cancel a pull", handler=cancel_pull, answer=Pull,
             doors=ADMIN),
    Endpoint(method="GET", path="/admin/pulls/{id}/events", summary="How far a pull is, as it goes on",
             handler=follow_pull, answer=Pull, form="stream", doors=ADMIN),
    Endpoint(method="GET", path="/admin/cache", summary="What the hub's cache holds", handler=list_cache, answer=Held,
             form="list", doors=ADMIN, errors=(1401,)),
    Endpoint(method="POST", path="/admin/cache/prune", summary="Delete from the hub's cache", handler=prune_cache,
             body=PruneWish, answer=Pruned, doors=ADMIN, errors=(1303, 1401)),
)  # fmt: skip

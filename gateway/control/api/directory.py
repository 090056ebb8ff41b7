"""Consumers and keys, for operators: the commands of `tollkeeper consumer` and `tollkeeper key`."""

from collections.abc import Callable, Coroutine
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from sqlalchemy import Row, select

from gateway.control.api.call import Call, Found, Listed, Page, Query
from gateway.control.api.endpoint import ADMIN, Endpoint
from gateway.control.api.paging import cut
from gateway.control.directory import LONGEST_OVERLAP
from gateway.control.tables import keys

LATEST = 1e11  # unix seconds
_SECRET = {"Cache-Control": "no-store"}


class ConsumerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the consumer is to be; what is not said is empty. `override_until` is unix microseconds, 0 for ever."""

    tier: str = ""
    project: str = ""
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    override_tier: str = ""
    override_until: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    role: str = ""
    methods: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class ConsumerShown(msgspec.Struct, frozen=True):
    """`source` is file or store."""

    name: str
    tier: str
    project: str
    models: tuple[str, ...]
    routes: tuple[str, ...]
    override_tier: str
    override_until: int
    role: str
    methods: tuple[str, ...]
    addresses: tuple[str, ...]
    source: str


class KeyShown(msgspec.Struct, frozen=True):
    """Never the key itself. Moments are unix seconds, 0 for none."""

    id: str
    consumer: str
    ends_in: str
    models: tuple[str, ...]
    routes: tuple[str, ...]
    methods: tuple[str, ...]
    successor: str
    created: float
    expires: float
    revoked: float
    last_used: float


class KeyMade(msgspec.Struct, frozen=True):
    """The key itself, for the only time."""

    id: str
    consumer: str
    key: str


class KeyRevoked(msgspec.Struct, frozen=True):
    id: str
    consumer: str


class KeyQuery(Page, frozen=True, kw_only=True):
    """`consumer`: only this one's keys."""

    consumer: str = ""


class KeyWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key that is wanted; `tier`, `role` and `project` make its consumer where there is none of this name yet.

    `expires` is unix seconds, 0 for never; `key` is one made elsewhere, to be known here too.
    """

    consumer: str
    tier: str = ""
    project: str = ""
    expires: Annotated[float, msgspec.Meta(ge=0, le=LATEST)] = 0.0
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    key: str = ""
    methods: tuple[str, ...] = ()
    role: str = ""


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`overlap` is how many seconds the old key lives on."""

    overlap: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_OVERLAP)] = 0.0


async def list_consumers(call: Call[Page, None]) -> Listed:
    everybody = await call.house.command("consumer.list")
    return cut(sorted(everybody, key=itemgetter("name")), call.query, "name")


async def set_consumer(call: Call[Query, ConsumerBody]) -> Found:
    wish = msgspec.structs.asdict(call.body)
    return Found(await call.house.command("consumer.set", name=call.path["name"], **wish))


async def list_keys(call: Call[KeyQuery, None]) -> Listed:
    """By id; not by the command, since there may be a million."""
    query = call.query
    wanted = select(keys).where(keys.c.id > query.cursor).order_by(keys.c.id).limit(query.limit + 1)
    if query.consumer:
        wanted = wanted.where(keys.c.consumer == query.consumer)
    rows = await call.read(lambda connection: [_show(row) for row in connection.execute(wanted)])
    return cut(rows, query, "id")


def _show(row: Row[Any]) -> dict[str, Any]:
    moments = {name: getattr(row, name) / 1e6 for name in ("created", "expires", "revoked", "last_used")}
    others = {name: getattr(row, name) for name in ("id", "consumer", "models", "routes", "methods", "successor")}
    return {**others, **moments, "ends_in": row.hint}


async def make_key(call: Call[Query, KeyWish]) -> Found:
    made = await call.house.command("key.new", **msgspec.structs.asdict(call.body))
    return Found(made, status=201, headers=_SECRET)


async def rotate_key(call: Call[Query, Rotation]) -> Found:
    made = await call.house.command("key.rotate", id=call.path["id"], overlap=call.body.overlap)
    return Found(made, status=201, headers=_SECRET)


def _named(command: str, part: str) -> Callable[[Call[Query, None]], Coroutine[Any, Any, Found]]:
    """A handler that does a command with the part of the path as its only argument."""

    async def handle(call: Call[Query, None]) -> Found:
        return Found(await call.house.command(command, **{part: call.path[part]}))

    return handle


ENDPOINTS = (
    Endpoint(method="GET", path="/admin/consumers", summary="All consumers, of file and store", handler=list_consumers,
             query=Page, answer=ConsumerShown, form="list", doors=ADMIN),
    Endpoint(method="GET", path="/admin/consumers/{name}", summary="One consumer",
             handler=_named("consumer.show", "name"), answer=ConsumerShown, doors=ADMIN),
    Endpoint(method="PUT", path="/admin/consumers/{name}", summary="Make a consumer of the store what is said",
             handler=set_consumer, body=ConsumerBody, answer=ConsumerShown, doors=ADMIN, errors=(1401,)),
    Endpoint(method="DELETE", path="/admin/consumers/{name}", summary="Remove a consumer of the store and its keys",
             handler=_named("consumer.remove", "name"), answer=ConsumerShown, doors=ADMIN, errors=(1401,)),
    Endpoint(method="GET", path="/admin/keys", summary="The keys of the store", handler=list_keys, query=KeyQuery,
             answer=KeyShown, form="list", doors=ADMIN),
    Endpoint(method="POST", path="/admin/keys", summary="Make a key", handler=make_key, body=KeyWish, answer=KeyMade,
             doors=ADMIN, status=201, errors=(1401,)),
    Endpoint(method="DELETE", path="/admin/keys/{id}", summary="End a key now", handler=_named("key.revoke", "id"),
             answer=KeyRevoked, doors=ADMIN),
    Endpoint(method="POST", path="/admin/keys/{id}/rotate", summary="A key with the rights of this one, which ends",
             handler=rotate_key, body=Rotation, answer=KeyMade, doors=ADMIN, status=201, errors=(1401,)),
)  # fmt: skip

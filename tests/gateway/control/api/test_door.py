"""What every endpoint has in common: envelope, ETag, chosen fields, checks of queries and bodies, errors."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest
from aiohttp import ClientPayloadError, web
from sqlalchemy import text

from gateway.control.api.call import Call, Caller, Found, Listed, Page, Query
from gateway.control.api.endpoint import Endpoint
from gateway.control.api.events import Events
from gateway.control.store import Store
from gateway.errors import GatewayError
from tests.gateway.control.api.stage import Stage, playing

BOB = Caller("bob", permissions=frozenset({"things:read"}), role="viewer", request_id="r")
EVE = Caller("eve", permissions=frozenset(), role="nobody", request_id="r")


class Thing(msgspec.Struct, frozen=True):
    id: int
    name: str


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    size: Annotated[int, msgspec.Meta(ge=0)] = 0


class ThingQuery(Page, frozen=True, kw_only=True):
    tag: tuple[str, ...] = ()
    deep: bool = False


async def show(call: Call[Query, None]) -> Found:
    if call.path["id"] == "7":
        return Found(Thing(7, "seven"))
    if call.path["id"] == "bug":
        raise RuntimeError("a bug")
    raise GatewayError(1303, "There is no such thing.")


async def list_all(call: Call[ThingQuery, None]) -> Listed:
    names = [*call.query.tag, str(call.query.deep)]
    return Listed([Thing(at, name) for at, name in enumerate(names)], "next", True)


async def make(call: Call[Query, Wish]) -> Found:
    return Found(Thing(call.body.size, call.body.name), status=201)


async def count(call: Call[Query, None]) -> Found:
    return Found(await call.read(lambda connection: connection.scalar(text("SELECT count(*) FROM nowhere"))))


async def stream(call: Call[Query, None]) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(call.request)
    await response.write(b"half of it")
    await asyncio.sleep(0)
    raise GatewayError(1605) if call.path["how"] == "refusal" else RuntimeError("a bug")


async def go_on(call: Call[Query, None]) -> web.StreamResponse:
    events = Events(call.request)
    await events.open()
    LEFT.clear()
    try:
        while True:
            await events.pulse()
            await asyncio.sleep(0.01)
    finally:
        LEFT.set()


LEFT = asyncio.Event()  # the stream above has ended

ENDPOINTS = (
    Endpoint(method="GET", path="/endless", summary="Endless", handler=go_on, form="stream"),
    Endpoint(method="GET", path="/stream/{how}", summary="Breaks", handler=stream, form="stream"),
    Endpoint(method="GET", path="/things/{id}", summary="One", handler=show, answer=Thing),
    Endpoint(method="GET", path="/things", summary="All", handler=list_all, query=ThingQuery, answer=Thing, form="list",
             permissions=("things:read", "things:write")),
    Endpoint(method="POST", path="/things", summary="Make", handler=make, body=Wish, answer=Thing, status=201),
    Endpoint(method="GET", path="/count", summary="Broken", handler=count),
    Endpoint(method="GET", path="/open", summary="Open", handler=lambda call: made(), is_open=True),
    Endpoint(method="GET", path="/admin/own", summary="Not here", handler=show, doors=("admin",)),
)  # fmt: skip


async def made() -> Found:
    return Found("hello")


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    async with playing(store, ENDPOINTS) as stage:
        yield stage


async def test_a_thing_in_its_envelope(stage: Stage) -> None:
    body = await stage.get("/things/7", BOB)
    meta = body.pop("meta")
    assert body == {"status": "success", "data": {"id": 7, "name": "seven"}}
    assert (meta["cached"], meta["version"], meta["request_id"]) == (False, "1.0", "r")
    assert meta["timestamp"].endswith("Z") and meta["execution_time_ms"] >= 0


async def test_a_list_tells_its_page(stage: Stage) -> None:
    body = await stage.get("/things", BOB, limit=3)
    assert body["pagination"] == {"cursor": "next", "has_more": True, "limit": 3}
    assert (await stage.get("/things", BOB))["pagination"]["limit"] == 50


async def test_what_the_caller_has_already_is_not_sent_again(stage: Stage) -> None:
    answer = await stage.call("GET", "/things/7", BOB)
    tag = answer.headers["ETag"]
    assert tag.startswith('"') and answer.headers["Cache-Control"] == "private, no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await stage.call("GET", "/things/7", BOB, headers={"If-None-Match": known})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
    other = await stage.call("GET", "/things/7?fields=id", BOB, headers={"If-None-Match": tag})
    assert other.status == 200 and other.headers["ETag"] != tag


async def test_head_is_get_without_the_body(stage: Stage) -> None:
    answer = await stage.call("HEAD", "/things/7", BOB)
    assert (answer.status, await answer.read()) == (200, b"")
    assert answer.headers["ETag"] == (await stage.call("GET", "/things/7", BOB)).headers["ETag"]


async def test_chosen_fields(stage: Stage) -> None:
    assert (await stage.get("/things/7", BOB, fields="name"))["data"] == {"name": "seven"}
    assert (await stage.get("/things", BOB, fields="id"))["data"] == [{"id": 0}]
    assert await stage.refusal("/things/7", BOB, fields=",".join("abcdefghij" * 11)) == (1219, "fields")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("deep=perhaps", "deep"),
        ("size=1", "size"), ("limit=1&limit=2", "limit"),
    ],
)  # fmt: skip
async def test_a_query_that_is_not_allowed(stage: Stage, query: str, param: str) -> None:
    assert await stage.refusal(f"/things?{query}", BOB) == (1219, param)


async def test_a_parameter_that_may_stand_several_times(stage: Stage) -> None:
    body = await stage.get("/things?tag=a&tag=b&deep=true", BOB)
    assert [thing["name"] for thing in body["data"]] == ["a", "b", "True"]


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"{}", (1213, "name")), (b"", (1213, "name")), (b'{"name": 7}', (1214, "name")),
        (b'{"name": "x", "size": -1}', (1214, "size")), (b'{"name": "x", "other": 1}', (1214, "other")),
        (b'{"name": "x", "name": "y"}', (1211, "name")), (b"[1]", (1210, None)), (b"{", (1210, None)),
        (b'{"name": "' + b"x" * 1_000_001 + b'"}', (1208, None)),
    ],
)  # fmt: skip
async def test_a_body_that_is_not_allowed(stage: Stage, body: bytes, refusal: tuple[int, str | None]) -> None:
    answer = await stage.call("POST", "/things", BOB, data=body)
    error = msgspec.json.decode(await answer.read())["error"]
    assert (error["number"], error["param"]) == refusal


async def test_a_body(stage: Stage) -> None:
    answer = await stage.call("POST", "/things", BOB, json={"name": "x", "size": 3})
    assert answer.status == 201 and "ETag" not in answer.headers
    assert (await answer.json())["data"] == {"id": 3, "name": "x"}


async def test_who_lacks_the_permission(stage: Stage) -> None:
    assert await stage.refusal("/things", EVE) == (1104, None)
    assert (await stage.call("GET", "/things/7", EVE)).status == 200  # asks for none
    everybody = Caller("ann", permissions=None)  # nobody authorizes
    assert (await stage.call("GET", "/things", everybody)).status == 200


async def test_who_is_not_known(stage: Stage) -> None:
    nobody = Caller()
    assert await stage.refusal("/things/7", nobody) == (1001, None)
    assert (await stage.get("/open", nobody))["data"] == "hello"


@pytest.mark.parametrize(
    ("method", "path", "status", "number"),
    [
        ("GET", "/things/8", 404, 1303), ("GET", "/nowhere", 404, 1301), ("GET", "/admin/own", 404, 1301),
        ("PUT", "/things", 405, 1207), ("GET", "/things/bug", 500, 1900), ("GET", "/count", 503, 1605),
    ],
)  # fmt: skip
async def test_errors_are_the_catalogues(stage: Stage, method: str, path: str, status: int, number: int) -> None:
    answer = await stage.call(method, path, BOB)
    body: Any = await answer.json()
    assert (answer.status, body["error"]["number"], answer.headers["X-Error-Number"]) == (status, number, str(number))
    assert body["meta"]["request_id"] == "r" and answer.headers["Cache-Control"] == "no-store"
    assert (answer.headers.get("Allow"), answer.headers.get("Retry-After")) == (
        "GET, HEAD, POST" if status == 405 else None,
        "1" if status == 503 else None,
    )


@pytest.mark.parametrize("how", ["refusal", "bug"])
async def test_an_answer_that_breaks_does_not_look_whole(stage: Stage, how: str) -> None:
    with pytest.raises(ClientPayloadError):
        await stage.call("GET", f"/stream/{how}", BOB)


async def test_a_reader_who_leaves_is_no_error(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    answer = await stage.client.get("/endless")
    assert await answer.content.readline() == b": still here\n"
    answer.close()
    async with asyncio.timeout(20):
        await LEFT.wait()
    assert (await stage.get("/things/7", BOB))["status"] == "success"
    assert not caplog.records

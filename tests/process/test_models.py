"""The life cycle of models as callers see it: the list, the figures, load, preload and unload, and who may."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Answer, Client

KEYS = {name: f"key-of-{name}-0000000001" for name in ("owner", "loader", "user", "guest")}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    engine = {"echo": {}, "memory": "1GB", "residency": 0}
    document = config(
        demo=False,
        memory="2500MB",
        tiers={"big": {"may_evict": True}, "small": {}, "none": {"may_load": False}},
        roles={"admin": {"may": ["*"]}, "developer": {"may": ["infer", "models:load"]}, "viewer": {"may": ["infer"]}},
        consumers={
            "owner": consumer("owner", "big", "admin"),
            "loader": consumer("loader", "small", "developer"),
            "user": consumer("user", "small", "viewer"),
            "guest": consumer("guest", "none", "developer"),
        },
        backends={
            **{name: engine for name in ("a", "b", "c")},
            "far": {"http": {"endpoints": [{"url": "http://127.0.0.1:9"}], "health": None}},
        },
        models={
            "org/a": {"backend": "a", "preload": True, "pin": True},
            "b": {"backend": "b"},
            "c": {"backend": "c"},
            "far": {"backend": "far"},
        },
        plugins=[{"key_auth": {}}, {"acl": {}}, {"quota": {}}],
        routes=[{"path": "/v1/chat/completions"}],
    )
    with running_gateway(document) as running:
        yield running


def consumer(name: str, tier: str, role: str) -> dict[str, Any]:
    return {"tier": tier, "role": role, "keys": [{"key": KEYS[name]}]}


@pytest.fixture
def address(gateway: Gateway) -> tuple[str, int]:
    return gateway.address


async def ask(address: tuple[str, int], method: str, path: str, who: str = "owner") -> Answer:
    client = Client(address, KEYS[who], fresh=True)
    try:
        return await client.ask(path=f"/v1/models{path}", method=method)
    finally:
        client.close()


async def status_of(address: tuple[str, int], model: str) -> str:
    return str((await ask(address, "GET", f"/{model}")).json["status"])


async def unload(address: tuple[str, int], *models: str) -> None:
    for model in models:
        assert (await ask(address, "DELETE", f"/{model}")).json["status"] == "unloaded"


async def test_the_list_says_what_is_loaded(address: tuple[str, int]) -> None:
    await unload(address, "b", "c")
    listed = (await ask(address, "GET", "")).json["data"]
    assert {each["id"]: each["status"] for each in listed} == {
        "org/a": "loaded", "b": "unloaded", "c": "unloaded", "far": "remote",
    }  # fmt: skip
    assert all(each["owned_by"] and each["object"] == "model" for each in listed)


async def test_load_and_unload(address: tuple[str, int]) -> None:
    loaded = await ask(address, "POST", "/b/load", "loader")
    assert (loaded.status, loaded.json["status"]) == (200, "loaded")
    assert (await ask(address, "POST", "/b/load", "guest")).status == 200, "it is there already"
    gone = await ask(address, "DELETE", "/b")
    assert (gone.status, gone.json["status"]) == (200, "unloaded")


async def test_preload_answers_at_once(gateway: Gateway, address: tuple[str, int]) -> None:
    await unload(address, "b", "c")
    begun = await ask(address, "POST", "/c/preload")
    assert (begun.status, begun.json["status"]) == (202, "loading")
    eventually(lambda: gateway.status()["engines"]["c"]["state"] == "ready")
    assert await status_of(address, "c") == "loaded"


async def test_the_figures(address: tuple[str, int]) -> None:
    rows = {row["id"]: row for row in (await ask(address, "GET", "/stats", "user")).json["data"]}
    assert rows["org/a"] | {"load_seconds": 0, "idle": 0, "created": 0} == {
        "id": "org/a", "object": "model", "created": 0, "owned_by": "tollkeeper", "status": "loaded", "load_seconds": 0,
        "in_use": 0, "waiting": 0, "restarts": 0, "memory": 10**9, "pinned": True, "idle": 0,
    }  # fmt: skip
    assert "memory" not in rows["far"]


@pytest.mark.parametrize(
    ("who", "method", "path", "number"),
    [
        ("user", "POST", "/b/load", 1104),  # his role may not
        ("user", "DELETE", "/b", 1104),
        ("guest", "POST", "/b/load", 1108),  # his tier may not
        ("guest", "POST", "/b/preload", 1108),
        ("loader", "DELETE", "/b", 1108),
        ("owner", "DELETE", "/org/a", 1401),  # pinned
        ("owner", "POST", "/far/load", 1401),  # somebody else's
        ("owner", "DELETE", "/far", 1401),
        ("owner", "POST", "/none/load", 1302),
        ("owner", "POST", "/b", 1207),
    ],
)
async def test_who_may_not(address: tuple[str, int], who: str, method: str, path: str, number: int) -> None:
    await unload(address, "b", "c")
    refused = await ask(address, method, path, who)
    assert refused.json["error"]["number"] == number
    assert await status_of(address, "b") == "unloaded"


async def test_who_may_not_evict_loads_only_where_there_is_room(address: tuple[str, int]) -> None:
    await unload(address, "b", "c")
    assert (await ask(address, "POST", "/c/load", "loader")).status == 200
    assert (await ask(address, "POST", "/b/load", "loader")).json["error"]["number"] == 1714
    assert (await ask(address, "POST", "/b/load", "owner")).status == 200
    assert (await status_of(address, "b"), await status_of(address, "c")) == ("loaded", "unloaded")

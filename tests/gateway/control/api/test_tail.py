"""Traces live, over HTTP and WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from gateway.control.api import tail
from gateway.control.api.call import Caller
from gateway.control.store import Store
from gateway.journal import Closed
from tests.gateway.control.api.stage import ADMIN, Stage, playing
from tests.gateway.control.query.rows import store_rows
from tests.gateway.control.records import closed, opened

PATH = "/api/v1/traces/tail"


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    async with playing(store, tail.ENDPOINTS) as made:
        yield made


class Reader:
    """Reads events as they come; comments are passed over."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def next(self) -> dict[str, Any]:
        event: dict[str, Any] = {}
        async with asyncio.timeout(20):
            while True:
                line = (await self._content.readline()).decode().rstrip("\n")
                if not line and "data" in event:
                    return event
                name, _, value = line.partition(": ")
                if name in ("event", "id"):
                    event[name] = value
                elif name == "data":
                    event["data"] = msgspec.json.decode(value)


@asynccontextmanager
async def reading(
    stage: Stage, caller: Caller = ADMIN, headers: Any = None, **parameters: Any
) -> AsyncIterator[Reader]:
    """When it begins the gateway has the reader."""
    stage.caller = caller
    async with stage.client.get(PATH, params=parameters, headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        if not headers and "cursor" not in parameters:
            async with asyncio.timeout(20):
                assert (await answer.content.readline()).startswith(b":")
        yield Reader(answer.content)


def publish(stage: Stage, *made: Closed) -> None:
    stage.house.tail.publish(made)


def make(id: str, **fields: Any) -> Closed:
    return closed(opened(id, **fields))


async def test_events_are_filtered_and_numbered(stage: Stage) -> None:
    async with reading(stage, model="qwen", fields="id,model") as reader:
        publish(stage, make("1", model="llama"), make("2", model="qwen"))
        publish(stage, make("3", model="qwen"))
        first, second = await reader.next(), await reader.next()
    assert (first["event"], first["data"]) == ("trace", {"id": "2", "model": "qwen"})
    assert second["data"]["id"] == "3"
    for cursor in ({"headers": {"Last-Event-ID": first["id"]}}, {"cursor": first["id"]}):
        async with reading(stage, model="qwen", limit=1, **cursor) as reader:
            assert (await reader.next())["data"]["id"] == "3"


async def test_nobody_sees_what_is_not_his(stage: Stage) -> None:
    mine = Caller("acme", "search", "viewer", frozenset({"traces:read"}))
    async with reading(stage, mine) as reader:
        publish(stage, make("1", project="chat", consumer="acme"), make("2", project="search", consumer="other"))
        assert (await reader.next())["data"]["id"] == "2"
    async with reading(stage, Caller("acme")) as reader:
        publish(stage, make("3", consumer="other"), make("4", consumer="acme"))
        assert (await reader.next())["data"]["id"] == "4"


async def test_a_gap_is_told(stage: Stage) -> None:
    async with reading(stage, cursor="another-1") as reader:
        gap = await reader.next()
        assert (gap["event"], gap["data"]) == ("gap", {"missed": None})
        publish(stage, *[make(str(number)) for number in range(6000)])
        gap = await reader.next()
        assert (gap["event"], gap["data"]) == ("gap", {"missed": 1000})
        assert (await reader.next())["data"]["id"] == "1000"


async def test_words_are_searched_for_in_what_was_stored(stage: Stage, store: Store) -> None:
    made = [make(str(number), consumer="acme") for number in range(4)]
    store_rows(store, made, {"1": ("where is the tower", ""), "3": ("", "the tower is here")})
    async with reading(stage, text="tower", fields="id") as reader:
        publish(stage, *made)
        assert [(await reader.next())["data"]["id"] for _ in range(2)] == ["1", "3"]


async def test_websocket(stage: Stage) -> None:
    stage.caller = ADMIN
    async with stage.client.ws_connect(PATH, params={"model": "qwen"}) as socket:
        while not stage.house.tail.readers:
            await asyncio.sleep(0.01)
        publish(stage, make("1", model="llama"), make("2", model="qwen"))
        message = await socket.receive_json(timeout=20)
        assert (message["event"], message["data"]["id"]) == ("trace", "2")
        id = message["id"]
        publish(stage, make("3", model="qwen"))
    async with stage.client.ws_connect(PATH, params={"model": "qwen", "cursor": id, "limit": "1"}) as socket:
        assert (await socket.receive_json(timeout=20))["data"]["id"] == "3"
        assert (await socket.receive(timeout=20)).type.name == "CLOSE"


async def test_a_reader_who_left_is_noticed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "PULSE", 0.02)
    stage.caller = ADMIN
    async with reading(stage), stage.client.ws_connect(PATH):
        async with asyncio.timeout(20):
            while stage.house.tail.readers != 2:
                await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        while stage.house.tail.readers:
            await asyncio.sleep(0.01)


async def test_readers_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_MOST", 1)
    assert await stage.refusal(PATH, model="\0") == (1219, "model")
    async with reading(stage):
        assert (await stage.refusal(PATH))[0] == 1504

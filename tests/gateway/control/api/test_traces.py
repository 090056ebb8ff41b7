"""Traces as their readers get them: pages, filters, one of them, and whose they are."""

import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from gateway.control import tables
from gateway.control.analytics.opinions import keep_abouts
from gateway.control.api import feedback, house, traces
from gateway.control.api.call import Caller
from gateway.control.batch import plan
from gateway.control.query.view import Trace
from gateway.control.rows import write_batch
from gateway.control.store import Store
from gateway.journal import Opened
from tests.gateway.control.api.stage import ADMIN, Stage, playing
from tests.gateway.control.query.rows import SECOND, make_rows, store_rows
from tests.gateway.control.records import NOON, closed, opened

ENDPOINTS = (*traces.ENDPOINTS, *feedback.ENDPOINTS)
ROWS = make_rows(60)
PATH = "/api/v1/traces"


@pytest.fixture
async def stage(any_store: Store) -> AsyncIterator[Stage]:
    async with playing(any_store, ENDPOINTS) as made:
        yield made


@pytest.fixture
async def plain_stage(store: Store) -> AsyncIterator[Stage]:
    """Over SQLite alone, for what no database is asked."""
    async with playing(store, ENDPOINTS) as made:
        yield made


async def walk(stage: Stage, caller: Caller = ADMIN, **parameters: Any) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = await stage.get(PATH, caller, **parameters, **more)
        found.extend(page["data"])
        cursor = page["pagination"]["cursor"]
        assert page["pagination"]["has_more"] is (cursor is not None)
        if cursor is None:
            return found


def open_request(store: Store, id: str, started: int = NOON, **fields: Any) -> Opened:
    request = opened(id, **fields)
    request.started = started
    with store.writing.begin() as connection:
        write_batch(connection, plan(msgspec.json.encode(request) + b"\n", "w1"), "w1")
    return request


async def test_a_trace_has_the_fields_that_were_promised(stage: Stage, any_store: Store) -> None:
    request = opened(
        "01a1", consumer="acme", project="search", session="s1", user="joe", tags="a,b", operation="chat",
        provider="llama_cpp", model="qwen", model_asked="gpt-4o", trace="01a1", span="a1", price="1/2/0.5",
    )  # fmt: skip
    done = closed(request, tokens_in=1000, tokens_cached=200, tokens_out=500, total_us=1_500_000, queue_us=2500)
    done.cost_nano = 1_900_000
    store_rows(any_store, [done], {"01a1": ("ask", "say")})
    (trace,) = (await stage.get(PATH))["data"]
    assert set(trace) == set(Trace.__struct_fields__)
    expected = {
        "id": "01a1", "ts": "2026-11-21T12:00:00.000000Z", "trace_id": "01a1", "span_id": "a1",
        "parent_span_id": None, "provider": "llama_cpp", "model": "qwen", "model_asked": "gpt-4o",
        "operation_type": "chat", "input_text": "ask", "output_text": "say", "prompt_tokens": 1000,
        "completion_tokens": 500, "total_tokens": 1500, "cached_tokens": 200, "prompt_cost": 0.0009,
        "completion_cost": 0.001, "total_cost": 0.0019, "duration_ms": 1500.0, "queue_ms": 2.5, "ttft_ms": None,
        "status": "success", "status_code": 200, "status_message": "complete", "error": None, "user_id": "joe",
        "session_id": "s1", "project_id": "search", "environment": "production", "tags": ["a", "b"], "units": 1.0,
    }  # fmt: skip
    assert {name: trace[name] for name in expected} == expected
    assert trace["attributes"] == {"method": "POST", "path": "/v1/chat/completions", "peer": "127.0.0.1"}


async def test_an_error_says_what_helps(stage: Stage, any_store: Store) -> None:
    store_rows(any_store, [closed(opened("01"), outcome="refused", error=1501, status=429)])
    (trace,) = (await stage.get(PATH, status="error", error=1501))["data"]
    assert (trace["status"], trace["error"]["code"]) == ("error", "rate_limit_exceeded")
    assert trace["error"]["cure"]


async def test_pages_follow_each_other_in_every_order(stage: Stage, any_store: Store) -> None:
    store_rows(any_store, ROWS)
    fields = {"ts": "ts", "duration": "duration_ms", "total_cost": "total_cost", "tokens": "total_tokens"}
    for name, field in fields.items():
        for sort in (name, f"-{name}"):
            found = await walk(stage, sort=sort, limit=7, fields="id,ts,duration_ms,total_cost,total_tokens")
            assert sorted(trace["id"] for trace in found) == sorted(row.opened.id for row in ROWS)
            keys = [(-1 if trace[field] is None else trace[field], trace["id"]) for trace in found]
            assert keys == sorted(keys, reverse=sort.startswith("-")), sort


async def test_a_walk_sees_each_row_once_while_others_arrive(stage: Stage, any_store: Store) -> None:
    old, new = make_rows(200), make_rows(300, seed=2)
    store_rows(any_store, old)
    dice = random.Random(3)
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        more = {"cursor": cursor} if cursor else {}
        page = await stage.get(PATH, limit=9, fields="id", **more)
        found.extend(row["id"] for row in page["data"])
        cursor = page["pagination"]["cursor"]
        arriving = [new.pop() for _ in range(min(len(new), dice.randrange(20)))]
        store_rows(any_store, arriving)
    assert len(found) == len(set(found))
    assert {row.opened.id for row in old} <= set(found)


async def test_open_requests_are_among_them_and_close_in_their_place(stage: Stage, any_store: Store) -> None:
    store_rows(any_store, [row for row in ROWS if row.opened.started < NOON - 5 * SECOND])
    request = open_request(any_store, "02", consumer="acme", model="qwen", started=NOON - 3 * SECOND)
    first = await stage.get(PATH, limit=1)
    assert [(row["id"], row["status"], row["duration_ms"]) for row in first["data"]] == [("02", "pending", None)]
    assert [row["id"] for row in (await stage.get(PATH, status="pending"))["data"]] == ["02"]
    assert (await stage.get(PATH, status="pending", model="llama"))["data"] == []
    assert "02" not in {row["id"] for row in (await stage.get(PATH, status="success", limit=1000))["data"]}
    store_rows(any_store, [closed(request)])
    rest = await stage.get(PATH, limit=1000, cursor=first["pagination"]["cursor"])
    assert "02" not in {row["id"] for row in rest["data"]}
    assert (await stage.get(f"{PATH}/02"))["data"]["status"] == "success"


async def test_filters_narrow(stage: Stage, any_store: Store) -> None:
    store_rows(any_store, ROWS, {ROWS[4].opened.id: ("where is the tower?", "in Paris")})
    every = await walk(stage, limit=1000)
    assert await walk(stage, model=["qwen", "llama"], limit=1000) == every
    tagged = await walk(stage, tags="a,b", limit=1000)
    assert tagged == [row for row in every if {"a", "b"} <= set(row["tags"])] != []
    recent = await walk(stage, **{"from": "30s", "to": "2026-11-21T12:00:00Z"}, limit=7)
    assert recent == [row for row in every if "2026-11-21T11:59:30" <= row["ts"] < "2026-11-21T12:00:00"] != []
    dear = await walk(stage, min_cost=0.2, max_cost=0.2, min_duration_ms=1, limit=1000)
    assert dear == [row for row in every if row["total_cost"] == 0.2 and row["duration_ms"] >= 1] != []
    (found,) = await walk(stage, text="tower paris", limit=1000)
    assert (found["id"], found["output_text"]) == (ROWS[4].opened.id, "in Paris")
    assert [set(row) for row in (await stage.get(PATH, fields="id,error.code", limit=1))["data"]] == [{"id", "error"}]


async def test_a_moment_told_relative_to_now_stays_where_it_was_for_the_pages_behind(
    stage: Stage, any_store: Store
) -> None:
    store_rows(any_store, ROWS)
    first = await stage.get(PATH, limit=5, **{"from": "40s"})
    stage.now += 3600 * SECOND
    second = await stage.get(PATH, limit=1000, cursor=first["pagination"]["cursor"], **{"from": "40s"})
    expected = [row for row in ROWS if row.opened.started >= NOON - 40 * SECOND]
    assert len(first["data"]) + len(second["data"]) == len(expected)


async def test_searches_nest(stage: Stage, any_store: Store) -> None:
    store_rows(any_store, ROWS)
    every = await walk(stage, limit=1000)
    wanted = {"or": [
        {"and": [{"field": "model", "value": "qwen"}, {"field": "total_tokens", "op": "gte", "value": 4}]},
        {"not": {"field": "user_id", "op": "exists", "value": True}},
    ]}  # fmt: skip
    page = await stage.post(f"{PATH}/search", {"filter": wanted}, limit=1000)
    expected = [row for row in every if (row["model"] == "qwen" and row["total_tokens"] >= 4) or row["user_id"] is None]
    assert page["data"] == expected != []
    first = await stage.post(f"{PATH}/search", {"filter": wanted, "sort": "tokens"}, limit=3)
    cursor = first["pagination"]["cursor"]
    second = await stage.post(f"{PATH}/search", {"filter": wanted, "sort": "tokens"}, limit=1000, cursor=cursor)
    assert len(first["data"]) + len(second["data"]) == len(expected)
    assert (await stage.post(f"{PATH}/search", {}, limit=1000))["data"] == every


DEEP: dict[str, Any] = {"field": "model", "value": "x"}
for _ in range(8):
    DEEP = {"not": DEEP}


@pytest.mark.parametrize(("content", "param"), [
    ({"filter": {"field": "nothing", "value": 1}}, "nothing"),
    ({"filter": {"field": "model", "op": "lt", "value": 1}}, "model"),
    ({"filter": {"field": "model", "op": "like", "value": 1}}, "filter.op"), ({"filter": {}}, "filter"),
    ({"filter": DEEP}, "filter"),
    ({"filter": {"and": [], "or": []}}, "filter"),
    ({"filter": {"and": [{"field": "model", "value": "x"}] * 100}}, "filter"),
    ({"sort": "colour"}, "sort"), ({"sorted": "ts"}, "sorted"),
    ({"filter": {"field": "model", "op": "exists"}}, "model"),
])  # fmt: skip
async def test_a_search_that_means_nothing_is_refused(plain_stage: Stage, content: Any, param: str) -> None:
    assert await plain_stage.refusal(f"{PATH}/search", content=content) == (1214, param)


@pytest.mark.parametrize(("parameters", "param"), [
    ({"from": "soon"}, "from"), ({"sort": "colour"}, "sort"), ({"cursor": "AAAA"}, "cursor"),
    ({"cursor": "é"}, "cursor"),
    ({"status": "great"}, "status"), ({"min_cost": "1e300"}, "min_cost"), ({"limit": "0"}, "limit"),
    ({"model": "\0"}, "model"),
    ({"text": "?"}, "text"), ({"colour": "red"}, "colour"), ({"limit": "1001"}, "limit"),
    ({"min_cost": "nan"}, "min_cost"),
])  # fmt: skip
async def test_a_query_that_means_nothing_is_refused(plain_stage: Stage, parameters: Any, param: str) -> None:
    assert await plain_stage.refusal(PATH, **parameters) == (1219, param)


async def test_a_cursor_belongs_to_its_query(stage: Stage, any_store: Store) -> None:
    store_rows(any_store, ROWS)
    cursor = (await stage.get(PATH, limit=5))["pagination"]["cursor"]
    assert await stage.refusal(PATH, cursor=cursor, model="qwen") == (1219, "cursor")
    assert await stage.refusal(PATH, cursor=cursor, sort="ts") == (1219, "cursor")
    assert (await stage.get(PATH, cursor=cursor, limit=9))["data"]


async def test_one_trace_by_its_id_or_by_its_w3c_trace(stage: Stage, any_store: Store) -> None:
    texts = {ROWS[7].opened.id: ("ask", "say")}
    store_rows(any_store, ROWS, texts)
    answer = await stage.call("GET", f"{PATH}/{ROWS[7].opened.id}")
    assert answer.headers["Cache-Control"] == "private, max-age=300"
    assert (await answer.json())["data"]["output_text"] == "say"
    again = await stage.call("GET", f"{PATH}/{ROWS[7].opened.id}", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304
    newest = max((row for row in ROWS if row.opened.trace == "f" * 32), key=lambda row: row.opened.started)
    assert (await stage.get(f"{PATH}/{'f' * 32}"))["data"]["ts"] == (await stage.get(f"{PATH}/{newest.opened.id}"))[
        "data"
    ]["ts"]
    assert (await stage.refusal(f"{PATH}/nobody"))[0] == 1303
    open_request(any_store, "07")
    pending = await stage.call("GET", f"{PATH}/07")
    assert pending.headers["Cache-Control"] == "private, no-store"


async def test_feedback_is_kept_shown_and_replaced(stage: Stage, any_store: Store) -> None:
    id = ROWS[0].opened.id
    store_rows(any_store, ROWS[:1])
    path = f"{PATH}/{id}/feedback"
    first = await stage.post(path, {"score": 1, "label": "helpful", "comment": "great"}, status=201)
    keep_abouts(any_store)
    await stage.post(path, {"score": 0.25, "label": "helpful"}, status=201)
    with any_store.reading.connect() as connection:
        assert connection.scalar(select(tables.feedback.c.of_started)) == ROWS[0].opened.started
    await stage.post(path, {"score": 0.5}, status=201)
    said = (await stage.get(f"{PATH}/{id}"))["data"]["feedback"]
    assert sorted((one["label"], one["score"], one["comment"]) for one in said) == [
        ("", 0.5, ""),
        ("helpful", 0.25, ""),
    ]
    assert first["data"]["id"] in {one["id"] for one in said}
    for wrong in ({"score": 1.5}, {"score": "1"}, {"score": 1, "label": "x" * 65}, {"score": 1, "comment": "\0"}):
        assert (await stage.refusal(path, content=wrong))[0] == 1214
    assert (await stage.refusal(path, content={}))[0] == 1213
    assert (await stage.refusal(f"{PATH}/nobody/feedback", content={"score": 1}))[0] == 1303


async def test_feedback_is_bounded(stage: Stage, any_store: Store) -> None:
    store_rows(any_store, ROWS[:1])
    path = f"{PATH}/{ROWS[0].opened.id}/feedback"
    for number in range(100):
        await stage.post(path, {"score": 1, "label": str(number)}, status=201)
    assert (await stage.refusal(path, content={"score": 1, "label": "one more"}))[0] == 1401
    await stage.post(path, {"score": 0, "label": "7"}, status=201)


async def test_a_question_that_takes_too_long_is_refused(
    plain_stage: Stage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_rows(store, make_rows(2000))
    monkeypatch.setattr(house, "_PATIENCE", -1.0)
    assert (await plain_stage.refusal(PATH, sort="duration_ms"))[0] == 1811

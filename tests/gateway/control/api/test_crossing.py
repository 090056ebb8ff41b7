"""Nothing crosses from one project to another, whatever is asked: filters, cursors, words, files, feedback."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.control.api import export, feedback, traces
from gateway.control.api.call import Caller
from gateway.control.batch import plan
from gateway.control.query.filters import Filters
from gateway.control.rows import write_batch
from gateway.control.store import Store
from gateway.journal import Closed
from tests.gateway.control.api.stage import Stage, playing
from tests.gateway.control.query.rows import store_rows
from tests.gateway.control.records import NOON, closed, opened

READ = frozenset({"traces:read"})
CALLERS = {  # and what each of them may see
    Caller("ann", "red", "viewer", READ): {"ann-red", "bob-red"},
    Caller("bob", "blue", "viewer", READ): {"ann-blue", "bob-blue"},
    Caller("ann", "red", "", READ): {"ann-red", "ann-blue", "ann-"},
    Caller("bob", "", "viewer", READ): {"bob-red", "bob-blue", "bob-"},
    Caller("ann", "red", "", None): {"ann-red", "ann-blue", "ann-"},
    Caller("eve", "", "", None): set(),
    Caller("eve", "%", "viewer", READ): set(),
    Caller("root", "red", "root", frozenset({"*"})): {"all"},
    Caller("boss", "red", "boss", READ | {"projects:all"}): {"all"},
}
OWNERS = [(consumer, project) for consumer in ("ann", "bob") for project in ("red", "blue", "")]
EVERY = {f"{consumer}-{project}" for consumer, project in OWNERS}
PATH = "/api/v1/traces"
TWINS = 5  # requests of each owner; the first is still open


def make() -> list[Closed]:
    """The same requests of everybody: told apart by nothing but whose they are."""
    rows = []
    for number in range(TWINS):
        for consumer, project in OWNERS:
            request = opened(
                f"{number}-{consumer}-{project}", consumer=consumer, project=project, session="s", user="u", tags="t",
                model="qwen", trace="f" * 32, parent="c" * 16,
            )  # fmt: skip
            request.started = NOON - number
            rows.append(closed(request, outcome="refused", error=1501))
    return rows


def owner_of(id: str) -> str:
    return id.partition("-")[2]


@pytest.fixture
async def stage(any_store: Store) -> AsyncIterator[Stage]:
    rows = make()
    for row in rows[: len(OWNERS)]:
        with any_store.writing.begin() as connection:
            write_batch(connection, plan(msgspec.json.encode(row.opened) + b"\n", "w1"), "w1")
    texts = {row.opened.id: ("the secret word", "of all") for row in rows}
    store_rows(any_store, rows[len(OWNERS) :], texts)
    async with playing(any_store, (*traces.ENDPOINTS, *feedback.ENDPOINTS, *export.ENDPOINTS)) as made:
        yield made


def visible(caller: Caller) -> set[str]:
    seen = CALLERS[caller]
    return EVERY if seen == {"all"} else seen


async def test_everybody_sees_all_of_his_own_and_nothing_else(stage: Stage) -> None:
    for caller in CALLERS:
        mine = visible(caller)
        for filters in ({}, {"session_id": "s", "trace_id": "f" * 32}, {"tags": "t", "model": "qwen"}):
            rows = (await stage.get(PATH, caller, limit=1000, fields="id", **filters))["data"]
            assert sorted(row["id"] for row in rows) == sorted(f"{n}-{owner}" for n in range(TWINS) for owner in mine)
        found = (await stage.get(PATH, caller, limit=1000, text='"secret word" all'))["data"]
        assert {owner_of(row["id"]) for row in found} == mine
        for format in ("csv", "jsonl"):
            answer = await stage.call("GET", f"/api/v1/export/{format}", caller, params={"fields": "id"})
            lines = [line for line in (await answer.text()).splitlines() if "-" in line]
            assert len(lines) == (TWINS - 1) * len(mine)
            assert all(any(owner in line for owner in mine) for line in lines)


async def test_one_of_somebody_else_is_as_if_it_were_not_there(stage: Stage) -> None:
    for caller in CALLERS:
        mine = visible(caller)
        nobody = await (await stage.call("GET", f"{PATH}/nobody", caller)).json()
        for id in (f"{number}-{owner}" for number in (0, 3) for owner in sorted(EVERY)):
            answer = await stage.call("GET", f"{PATH}/{id}", caller)
            assert answer.status == (200 if owner_of(id) in mine else 404)
            assert answer.status == 200 or (await answer.json())["error"] == nobody["error"]
            said = await stage.call("POST", f"{PATH}/{id}/feedback", caller, json={"score": 1})
            assert said.status == (201 if owner_of(id) in mine else 404)
        newest = await stage.call("GET", f"{PATH}/{'f' * 32}", caller)
        assert newest.status == (200 if mine else 404)
        if mine:
            assert owner_of((await newest.json())["data"]["id"]) in mine


async def test_a_file_goes_on_behind_ones_own_rows_alone(stage: Stage) -> None:
    for caller in CALLERS:
        for owner in EVERY:
            behind = await stage.call("GET", "/api/v1/export/csv", caller, params={"cursor": f"3-{owner}"})
            assert behind.status == (200 if owner in visible(caller) else 400)


async def test_a_cursor_gives_no_rights(stage: Stage) -> None:
    """Positions are no secret; whose rows are behind them is asked anew."""
    for lender in CALLERS:
        page = await stage.get(PATH, lender, limit=2)
        cursor = page["pagination"]["cursor"]
        for caller in CALLERS if cursor is not None else ():
            rows = (await stage.get(PATH, caller, limit=1000, cursor=cursor))["data"]
            assert {owner_of(row["id"]) for row in rows} <= visible(caller)


_words = st.sampled_from(
    ["ann", "bob", "red", "blue", "", "%", "s", "f" * 32, "1-ann-red", "2-bob-blue", "' OR '1'='1"]
)
_fields = [field.encode_name for field in msgspec.structs.fields(Filters) if field.type == tuple[str, ...]]
_comparisons = st.one_of(
    st.builds(lambda field, op, value: {"field": field, "op": op, "value": value},
              st.sampled_from(["project_id", "consumer", "id"]), st.sampled_from(["eq", "ne", "prefix"]), _words),
    st.just({"field": "text", "op": "text", "value": "secret"}),
    st.just({"field": "project_id", "op": "exists", "value": False}),
)  # fmt: skip
_trees = st.recursive(
    _comparisons,
    lambda below: st.one_of(
        st.lists(below, max_size=3).map(lambda parts: {"or": parts}),
        st.lists(below, max_size=3).map(lambda parts: {"and": parts}),
        below.map(lambda part: {"not": part}),
    ),
    max_leaves=4,
)


async def test_no_filter_opens_a_way(stage: Stage) -> None:
    searches: list[Any] = []
    filters: list[dict[str, Any]] = []

    @settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_trees, st.dictionaries(st.sampled_from([name for name in _fields if name != "status"]), _words, max_size=2))
    def collect(tree: Any, parameters: dict[str, str]) -> None:
        searches.append(tree)
        filters.append(parameters)

    collect()
    callers = [caller for caller in CALLERS if visible(caller) != EVERY]
    for number, (tree, parameters) in enumerate(zip(searches, filters, strict=True)):
        caller = callers[number % len(callers)]
        found = (await stage.post(f"{PATH}/search", {"filter": tree}, caller, limit=1000))["data"]
        found += (await stage.get(PATH, caller, limit=1000, **parameters))["data"]
        assert {owner_of(row["id"]) for row in found} <= visible(caller), (tree, parameters)

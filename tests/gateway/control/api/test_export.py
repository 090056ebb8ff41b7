"""Traces as files: whole, typed, gone on with where they broke off, harmless to spreadsheets."""

import builtins
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiohttp import ClientPayloadError
from sqlalchemy.exc import OperationalError

from gateway.control.api import export, traces
from gateway.control.query.sheet import COLUMNS
from gateway.control.store import Store
from tests.gateway.control.api.stage import Stage, playing
from tests.gateway.control.query.rows import SECOND, make_rows, store_rows
from tests.gateway.control.records import closed, opened

ROWS = sorted(make_rows(1203), key=lambda row: (row.opened.started, row.opened.id))  # three pages
IDS = [row.opened.id for row in ROWS]
PATH = "/api/v1/export"


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    async with playing(store, (*export.ENDPOINTS, *traces.ENDPOINTS)) as made:
        yield made


async def fetch(stage: Stage, format: str, **parameters: Any) -> bytes:
    answer = await stage.call("GET", f"{PATH}/{format}", params=parameters)
    assert answer.status == 200, await answer.text()
    return await answer.read()


async def test_csv(stage: Stage, store: Store) -> None:
    store_rows(store, ROWS)
    lines = list(csv.DictReader(io.StringIO((await fetch(stage, "csv")).decode())))
    assert [line["id"] for line in lines] == IDS
    assert tuple(lines[0]) == COLUMNS
    half = list(csv.reader(io.StringIO((await fetch(stage, "csv", cursor=IDS[600], fields="id,ts")).decode())))
    assert [line[0] for line in half] == IDS[601:]


async def test_json_lines(stage: Stage, store: Store) -> None:
    store_rows(store, ROWS)
    lines = [msgspec.json.decode(line) for line in (await fetch(stage, "jsonl")).splitlines()]
    assert [line["id"] for line in lines] == IDS
    (shown,) = (await stage.get("/api/v1/traces", id=IDS[5]))["data"]
    assert lines[5] == {name: value for name, value in shown.items() if name != "feedback"}
    some = (await fetch(stage, "jsonl", model="qwen", limit=701, fields="id")).splitlines()
    expected = [row.opened.id for row in ROWS if row.opened.model == "qwen"][:701]
    assert [msgspec.json.decode(line)["id"] for line in some] == expected


async def test_parquet(stage: Stage, store: Store) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    store_rows(store, ROWS, {IDS[0]: ("ask", "say")})
    rows = parquet.read_table(io.BytesIO(await fetch(stage, "parquet"))).to_pylist()
    assert [row["id"] for row in rows] == IDS
    for row, expected in zip(rows[::97], ROWS[::97], strict=True):
        assert row["ts"] == datetime.fromtimestamp(expected.opened.started // SECOND, UTC)
        assert row["tags"] == (expected.opened.tags.split(",") if expected.opened.tags else [])
        assert row["error"] == (expected.error or None)
        assert row["duration_ms"] == expected.total_us / 1000
        assert msgspec.json.decode(row["attributes"])["method"] == "POST"
    assert rows[0]["output_text"] == "say"
    assert parquet.read_table(io.BytesIO(await fetch(stage, "parquet", model="none"))).num_rows == 0


async def test_without_its_package_parquet_says_what_to_do(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    answer = await stage.call("GET", f"{PATH}/parquet")
    assert answer.status == 501
    assert "tollkeeper[parquet]" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
async def test_no_cell_is_a_formula(stage: Stage, store: Store, text: str) -> None:
    """CSV injection: what a spreadsheet would run is only shown."""
    store_rows(store, [closed(opened("01", user=text), cost_nano=-1)], {"01": (text, 'a "quoted", one')})
    content = await fetch(stage, "csv", fields="user_id,input_text,output_text,total_cost")
    _, (user, asked, said, cost) = csv.reader(io.StringIO(content.decode(), newline=""))
    assert (user, asked, said) == (f"'{text}", f"'{text}", 'a "quoted", one')
    assert float(cost) < 0


async def test_what_arrives_meanwhile_disturbs_nothing(stage: Stage, store: Store) -> None:
    store_rows(store, ROWS)
    answer = await stage.client.get(f"{PATH}/jsonl", params={"fields": "id"})
    got = b""
    async for piece in answer.content.iter_any():
        if not got:
            store_rows(store, make_rows(50, seed=7))
        got += piece
    ids = [msgspec.json.decode(line)["id"] for line in got.splitlines()]
    assert len(ids) == len(set(ids))
    assert set(IDS) <= set(ids)


async def test_what_is_open_is_left_out(stage: Stage, store: Store) -> None:
    store_rows(store, ROWS[:2])
    with store.writing.begin() as connection:
        line = msgspec.json.encode(opened("02")).decode()
        connection.exec_driver_sql("INSERT INTO open_requests VALUES ('02', 'w1', ?, 0, 0)", (line,))
    assert len((await fetch(stage, "jsonl")).splitlines()) == 2


@pytest.mark.parametrize(("path", "parameters", "expected"), [
    ("xml", {}, (1303, None)), ("csv", {"fields": "id,colour"}, (1219, "fields")),
    ("csv", {"limit": 0}, (1219, "limit")),
    ("csv", {"cursor": "nobody"}, (1219, "cursor")), ("csv", {"from": "soon"}, (1219, "from")),
])  # fmt: skip
async def test_what_cannot_be_exported(stage: Stage, path: str, parameters: Any, expected: Any) -> None:
    assert await stage.refusal(f"{PATH}/{path}", **parameters) == expected


async def test_a_store_that_fails_in_the_middle_breaks_the_file_off(
    stage: Stage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that ends cleanly is whole."""
    store_rows(store, ROWS)
    pages = 0
    find = export.find_rows

    def fail(*rest: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == 3:
            raise OperationalError("", None, Exception("gone"))
        return find(*rest)

    monkeypatch.setattr(export, "find_rows", fail)
    answer = await stage.client.get(f"{PATH}/csv")
    with pytest.raises(ClientPayloadError):
        await answer.read()

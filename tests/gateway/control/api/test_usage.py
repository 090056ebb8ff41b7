"""The usage report as callers get it."""

import csv
import io
from collections.abc import AsyncIterator

import pytest

from gateway.control.analytics.roller import fold_all
from gateway.control.api import usage
from gateway.control.api.call import Caller
from gateway.control.store import Store
from tests.gateway.control.analytics.month import make_requests, write
from tests.gateway.control.api.stage import ADMIN, Stage, playing

PATH = "/api/v1/usage/2026-11"
READS = frozenset({"usage:read"})


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    write(store, make_requests(200))
    fold_all(store)
    async with playing(store, usage.ENDPOINTS) as made:
        yield made


@pytest.mark.parametrize(
    ("caller", "consumers", "projects"),
    [
        (ADMIN, {"c0", "c1", "c2", "c3"}, {"chat", "search"}),
        (Caller("c1", "chat", "billing", READS), {"c0", "c1", "c2", "c3"}, {"chat"}),
        (Caller("c1", "chat", "boss", frozenset({"*"})), {"c0", "c1", "c2", "c3"}, {"chat", "search"}),
        (Caller("c1", "chat", "none", frozenset({"infer"})), {"c1"}, {"chat", "search"}),
        (Caller("c2"), {"c2"}, {"chat", "search"}),
    ],
)
async def test_who_sees_whose_usage(stage: Stage, caller: Caller, consumers: set[str], projects: set[str]) -> None:
    report = (await stage.get(PATH, caller))["data"]
    assert report["consumers"].keys() == consumers
    assert {line["project"] for line in report["lines"]} == projects
    text = await (await stage.call("GET", PATH, caller, params={"format": "csv"})).text()
    assert {row["consumer"] for row in csv.DictReader(io.StringIO(text, newline=""))} == consumers
    other = (await stage.get(PATH, caller, consumer="c3"))["data"]
    assert other["consumers"].keys() == consumers & {"c3"}


async def test_csv_says_what_json_says(stage: Stage) -> None:
    report = (await stage.get(PATH))["data"]
    answer = await stage.call("GET", PATH, params={"format": "csv"})
    assert answer.content_type == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage-2026-11.csv"'
    rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
    assert len(rows) == len(report["lines"])
    assert sum(float(row["units"]) for row in rows) == pytest.approx(report["total"]["units"])
    assert sum(float(row["total_cost"]) for row in rows) == pytest.approx(report["total"]["total_cost"])


@pytest.mark.parametrize(
    ("path", "parameters", "param"),
    [
        ("/api/v1/usage/2026-13", {}, "period"),
        ("/api/v1/usage/now", {}, "period"),
        (PATH, {"format": "pdf"}, "format"),
        (PATH, {"x": "1"}, "x"),
    ],
)
async def test_what_is_refused(stage: Stage, path: str, parameters: dict[str, str], param: str) -> None:
    assert await stage.refusal(path, **parameters) == (1219, param)

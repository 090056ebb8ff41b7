import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.control.analytics.month import read_month
from gateway.control.analytics.question import TooMany
from gateway.control.analytics.report import COLUMNS, Report, parse_month, write_csv
from gateway.control.analytics.roller import fold_all
from gateway.control.api.scope import Scope
from gateway.control.audit.book import Book
from gateway.control.command import Commands
from gateway.control.consumer import DirectoryError
from gateway.control.directory import Directory
from gateway.control.store import Store
from gateway.journal import Closed
from gateway.settings.schema import Config
from tests.gateway.control.analytics.month import make_requests, write
from tests.gateway.control.records import NOON, closed, opened

EVERYTHING = Scope(everything=True)


def at(day: str, consumer: str, units: int, period: str = "", **fields: Any) -> Closed:
    request = opened(f"{day}{consumer}{units}", consumer=consumer, period=period, model=fields.pop("model", "qwen"))
    request.started = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000_000)
    return closed(request, units=units, **fields)


def read(store: Store, month: str, scope: Scope = EVERYTHING, consumer: str = "") -> Report:
    fold_all(store)
    with store.reading.connect() as connection:
        return read_month(connection, scope, parse_month(month), consumer)


def test_a_month_is_the_one_that_was_charged(any_store: Store) -> None:
    write(
        any_store,
        [
            at("2026-11-30T20:00:00", "east", 1000, "2026-12"),  # it was December there already
            at("2026-12-15T00:00:00", "east", 2000, "2026-12"),
            at("2026-12-31T23:00:00", "east", 400, "2027-01"),
            at("2027-01-01T07:00:00", "west", 50, "2026-12"),  # still December there
            at("2026-12-20T00:00:00", "from15", 600, "2026-12-15"),
            at("2027-01-14T23:00:00", "from15", 60, "2026-12-15"),
            at("2026-12-14T00:00:00", "from15", 7, "2026-11-15"),
            at("2026-12-01T00:00:00", "free", 0),
            at("2026-12-31T23:59:59", "free", 0, error=1501, outcome="refused"),
            at("2027-01-01T00:00:00", "free", 0),
        ],
    )
    report = read(any_store, "2026-12")
    assert {name: (of.requests, of.units) for name, of in report.consumers.items()} == {
        "east": (2, 3.0), "west": (1, 0.05), "from15": (2, 0.66), "free": (2, 0.0),
    }  # fmt: skip
    assert report.total.units == 3.71
    assert read(any_store, "2026-12-15").consumers.keys() == {"from15"}
    assert read(any_store, "2026-11").consumers["from15"].units == 0.007
    assert read(any_store, "2025-12") == Report("2025-12", [], {}, read(any_store, "2024-01").total)


def test_lines_add_up_to_what_was_stored(any_store: Store) -> None:
    made = make_requests(400, days=15)
    write(any_store, made)
    report = read(any_store, "2026-11")
    assert len(report.lines) == len({(it.opened.consumer, it.opened.project, it.opened.model) for it in made})
    assert round(report.total.units * 1000) == sum(it.units for it in made)
    assert round(report.total.total_cost * 1e9) == sum(it.cost_nano or 0 for it in made)
    for name, figures in report.consumers.items():
        own = [it for it in made if it.opened.consumer == name]
        assert figures.requests == len(own) and round(figures.units * 1000) == sum(it.units for it in own)
        assert figures.prompt_tokens == sum(line.prompt_tokens for line in report.lines if line.consumer == name)


def test_whose_months_are_told(store: Store) -> None:
    write(store, make_requests(200))
    assert read(store, "2026-11", Scope(consumer="c1")).consumers.keys() == {"c1"}
    assert {line.project for line in read(store, "2026-11", Scope(project="chat")).lines} == {"chat"}
    assert read(store, "2026-11", consumer="c2").consumers.keys() == {"c2"}
    assert not read(store, "2026-11", Scope(consumer="c1"), consumer="c2").lines


@pytest.mark.parametrize("text", ["2026-13", "2026", "26-11", "2026-11-31", "2026-11-1", "x" * 100, "2026-11-15T00"])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(ValueError, match="write 2026-11"):
        parse_month(text)


def test_a_year_ends(store: Store) -> None:
    assert parse_month("2026-12").end == parse_month("2027-01").begin
    assert parse_month("2026-12-31").end == parse_month("2027-01").begin


def test_a_file_for_spreadsheets() -> None:
    figures = dict.fromkeys(COLUMNS[6:], 0)
    names = {"consumer": "=cmd|' /C calc'!A0", "project": 'a "b", c', "tier": "-1", "period": "2026-11", "route": "/v1",
             "model": "@m"}  # fmt: skip
    lines = [{**names, **figures, "units": 0.5, "total_cost": 0.000000001}]
    head, row = csv.reader(io.StringIO(write_csv(lines), newline=""))
    assert tuple(head) == COLUMNS
    told = dict(zip(head, row, strict=True))
    assert (told["consumer"], told["project"]) == ("'=cmd|' /C calc'!A0", 'a "b", c')
    assert (told["tier"], told["model"], told["units"], told["total_cost"]) == ("'-1", "'@m", "0.5", "0.000000001")


def test_too_many_lines_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, make_requests(100))
    monkeypatch.setattr("gateway.control.analytics.month._MOST", 2)
    with pytest.raises(TooMany, match="one consumer"):
        read(store, "2026-11")


def test_the_operators_command_knows_all_that_is_stored(store: Store) -> None:
    write(store, make_requests(50))
    directory = Directory(store, Config(), lambda: NOON)
    commands = Commands(store, directory, Book(store, "a", "", lambda: NOON))
    report = commands.run("usage", {"month": "2026-11"}).data
    assert report["total"]["requests"] == 50
    assert commands.run("usage", {"month": "2026-11", "consumer": "c1"}).data["consumers"].keys() == {"c1"}
    with pytest.raises(DirectoryError, match="2026-11-15 for one from that day"):
        commands.run("usage", {"month": "November"})

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import tollkeeper
from gateway.control.store import open_store
from gateway.settings.state import store_file
from tests.gateway.control.analytics.month import make_requests, write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration whose gateway does not run, and has served two hundred requests."""
    state = tmp_path / "var"
    state.mkdir(mode=0o700)
    store = open_store(store_file(str(state)))
    write(store, make_requests(200))
    store.close()
    file = tmp_path / "gateway.yaml"
    file.write_text(f"state: {{directory: {state}}}\n")
    return file


def run(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(tollkeeper, ["usage", "-c", str(file), *arguments])


def test_a_month_as_a_table(file: Path) -> None:
    told = run(file, "--month", "2026-11")
    head, *lines = told.stdout.splitlines()
    assert told.exit_code == 0 and head.startswith("consumer")
    requests = [int(line.split()[6]) for line in lines]
    assert len(lines) == 16 and sum(requests) == 200
    assert told.stderr.startswith("200 requests, ") and told.stderr.endswith(" USD\n")


def test_a_month_of_one_consumer_as_csv(file: Path) -> None:
    told = run(file, "--month", "2026-11", "--consumer", "c2", "--csv")
    expected = [it for it in make_requests(200) if it.opened.consumer == "c2"]
    rows = list(csv.DictReader(told.stdout.splitlines()))
    assert {row["consumer"] for row in rows} == {"c2"}
    assert sum(int(row["requests"]) for row in rows) == len(expected)
    assert round(sum(float(row["units"]) for row in rows) * 1000) == sum(it.units for it in expected)


def test_this_month_is_meant_where_none_is_named(file: Path) -> None:
    told = run(file)
    assert told.exit_code == 0
    assert (f"{datetime.now(UTC):%Y-%m}" == "2026-11") == ("200 requests" in told.stderr)


def test_what_is_no_month_is_told_so(file: Path) -> None:
    told = run(file, "--month", "november")
    assert told.exit_code == 1 and "write 2026-11" in told.stderr


def test_the_sums_can_be_made_anew(file: Path) -> None:
    told = CliRunner().invoke(tollkeeper, ["store", "roll-up", "-c", str(file)])
    assert told.exit_code == 0 and told.stdout.startswith("rolled up ")
    assert run(file, "--month", "2026-11").stderr.startswith("200 requests, ")

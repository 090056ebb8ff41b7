"""`tollkeeper store` against real databases, with and without a gateway in the state directory."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import tollkeeper
from gateway.control.store import open_store
from gateway.control.tables import REVISION
from gateway.settings.state import claim
from tests.gateway.control.records import NOON
from tests.gateway.control.test_retention import DAY, counts, fill
from tests.postgres import Server, need_postgres, running_postgres

PLACES = ("sqlite", "postgres")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    need_postgres()
    with running_postgres() as running:
        yield running


class Site:
    """A configuration file, its state directory and its database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.state = folder / "var"
        self.state.mkdir(mode=0o700)
        self.location = url or str(self.state / "store.sqlite")
        self.file = folder / "gateway.yaml"
        self.file.write_text(f"state: {{directory: {self.state}, database: {url or 'sqlite'}, retention: 30d}}\n")

    def run(self, *arguments: str, answer: str = "") -> Result:
        return CliRunner().invoke(tollkeeper, ["store", *arguments, "--config", str(self.file)], input=answer)

    def rows(self) -> int:
        store = open_store(self.location)
        found = counts(store)[0]
        store.close()
        return found

    def fill(self, count: int, begin: int = NOON) -> None:
        store = open_store(self.location)
        fill(store, count, begin, 1_000_000, said="text")
        store.close()


@pytest.fixture(params=PLACES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, "" if request.param == "sqlite" else request.getfixturevalue("server").make_database())


def test_a_store_is_made_and_told_of(site: Site) -> None:
    first, second = site.run("upgrade"), site.run("upgrade")
    assert (first.output, second.output) == (f"empty -> schema {REVISION}\n", f"has schema {REVISION}\n")
    site.fill(3)
    told = site.run("status")
    assert told.exit_code == 0, told.output
    lines = dict(line.split(maxsplit=1) for line in told.output.splitlines())
    assert (lines["traces:"], lines["contents:"], lines["schema:"]) == ("3", "3", REVISION)
    assert lines["oldest:"] == "2026-11-21 12:00 UTC"
    assert lines["store:"].replace("%2F", "/") == site.location


def test_a_copy_is_put_back(site: Site, tmp_path: Path) -> None:
    site.run("upgrade")
    site.fill(5)
    copy = tmp_path / "copy"
    done = site.run("backup", str(copy))
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert "is there already" in site.run("backup", str(copy)).output
    site.fill(7, NOON + DAY)
    assert site.rows() == 12
    assert site.run("restore", str(copy), answer="n\n").exit_code == 1
    assert site.rows() == 12
    done = site.run("restore", str(copy), "--yes")
    assert done.exit_code == 0, done.output
    assert site.rows() == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "gateway.yaml", "var"]
    assert not [path for path in site.state.iterdir() if path.name.startswith(".")]


def test_the_old_are_removed(site: Site) -> None:
    site.run("upgrade")
    site.fill(4, NOON - 3000 * DAY)
    assert site.run("prune").output == "removed 4 traces for their age, 0 for the store's size\n"
    site.fill(4, NOON - 200 * DAY)
    assert "removed" in site.run("prune", "--older-than", "1d").output


def test_what_is_no_copy_changes_nothing(site: Site, tmp_path: Path) -> None:
    site.run("upgrade")
    site.fill(2)
    for name, data in (("noise", b"x" * 5000), ("dump", b"PGDMP" + b"x" * 5000)):
        (tmp_path / name).write_bytes(data)
        refused = site.run("restore", str(tmp_path / name), "--yes")
        assert refused.exit_code == 1 and refused.output.startswith("tollkeeper: "), refused.output
    with closing(sqlite3.connect(tmp_path / "other")) as other:
        other.execute("CREATE TABLE else_where (a)")
    assert site.run("restore", str(tmp_path / "other"), "--yes").exit_code == 1
    assert site.rows() == 2


def test_a_damaged_copy_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path, "")
    site.run("upgrade")
    site.fill(200)
    site.run("backup", str(tmp_path / "copy"))
    data = bytearray((tmp_path / "copy").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = os.urandom(4096)
    (tmp_path / "copy").write_bytes(data)
    refused = site.run("restore", str(tmp_path / "copy"), "--yes")
    assert refused.exit_code == 1 and ("damaged" in refused.output or "no store" in refused.output)
    assert site.rows() == 200


def test_beside_a_running_gateway_a_store_is_not_replaced(tmp_path: Path) -> None:
    site = Site(tmp_path, "")
    site.run("upgrade")
    site.fill(1)
    lock = claim(str(site.state))
    try:
        assert site.run("backup", str(tmp_path / "copy")).exit_code == 0
        assert site.run("status").exit_code == 0
        for arguments in (("restore", str(tmp_path / "copy"), "--yes"), ("upgrade",)):
            refused = site.run(*arguments)
            assert refused.exit_code == 1 and "another gateway" in refused.output
    finally:
        os.close(lock)


def test_no_store_no_trouble(tmp_path: Path) -> None:
    told = Site(tmp_path, "").run("status")
    assert told.exit_code == 1 and "there is no store" in told.output
    assert not (tmp_path / "var" / "store.sqlite").exists()

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control.store import Store, open_store, upgrade_store
from tests.postgres import Server, need_postgres, running_postgres


@pytest.fixture(scope="package")  # gone with it: tests of engines look for processes that are left
def postgres() -> Iterator[Server]:
    """One PostgreSQL for all tests here. Its database `model` is a store without a row, to be copied."""
    need_postgres()
    with running_postgres() as server:
        server.query("CREATE DATABASE model")
        upgrade_store(server.url("model"))
        yield server


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite without a row, to be copied: quicker than all migrations each time."""
    path = tmp_path_factory.mktemp("model") / "store.sqlite"
    open_store(str(path)).close()
    return path


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    path.mkdir()
    return path


@pytest.fixture
def sqlite_store(tmp_path: Path, model: Path) -> Iterator[Store]:
    """`store.sqlite` in `tmp_path`."""
    opened = open_store(str(shutil.copy(model, tmp_path)))
    yield opened
    opened.close()


@pytest.fixture
def postgres_store(postgres: Server) -> Iterator[Store]:
    opened = open_store(postgres.make_database("model"))
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def any_store(request: pytest.FixtureRequest) -> Store:
    """A new store of each kind."""
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    """A new store. Modules whose tests are for both kinds say so by a fixture of this name."""
    return sqlite_store

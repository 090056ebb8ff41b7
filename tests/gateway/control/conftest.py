from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.sqlite"))
    yield opened
    opened.reading.dispose()

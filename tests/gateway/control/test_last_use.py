"""When a key was last used: worked out from the journals, so that no request pays for it."""

from pathlib import Path

import msgspec
import pytest

from gateway.control.directory import Directory, NewKey
from gateway.control.ingest import Ingest
from gateway.control.store import Store
from gateway.journal import Journal
from gateway.settings.schema import Config, Tier
from tests.gateway.control.records import NOON, closed, opened


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


def test_the_last_use_of_each_key(store: Store, tmp_path: Path) -> None:
    directory = Directory(store, Config(tiers={"free": Tier()}), lambda: NOON)
    used, idle, theirs = (directory.new_key(NewKey(name, "free")).data["id"] for name in ("acme", "acme", "other"))
    (tmp_path / "journal").mkdir()
    ingest = Ingest(store, tmp_path / "journal", lambda: NOON)
    journal = Journal(tmp_path / "journal", "w")

    def request(number: int, key: str, seconds: int) -> None:
        record = msgspec.structs.replace(opened(str(number), credential=key), started=NOON + seconds * 1_000_000)
        journal.write(closed(record))

    def last_uses() -> dict[str, float]:
        while ingest.step():
            pass
        return {row["id"]: row["last_used"] for row in directory.list_keys().data}

    noon = NOON / 1_000_000
    assert last_uses() == {used: 0.0, idle: 0.0, theirs: 0.0}
    for number, seconds in enumerate((5, 9, 7)):
        request(number, used, seconds)
    request(10, theirs, 3)  # a consumer's own name for a key of the file, which happens to be another's id here
    request(11, "", 4)
    assert last_uses() == {used: noon + 9, idle: 0.0, theirs: 0.0}
    request(12, used, 8)  # another worker's journal may come later
    assert last_uses()[used] == noon + 9
    journal.close()
    ingest.close()

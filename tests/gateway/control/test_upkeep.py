import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from gateway.control import upkeep as module
from gateway.control.retention import AGE, Retention
from gateway.control.store import Store
from gateway.control.upkeep import Upkeep
from gateway.settings.site import State
from gateway.tasks import spawn
from tests.gateway.control.records import NOON
from tests.gateway.control.test_retention import DAY, HOUR, counts, fill


async def test_a_store_that_takes_nothing_now_is_pruned_later(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.01)
    fill(store, 2500, NOON - 100 * DAY, HOUR // 60)
    fill(store, 5, NOON - DAY, HOUR)
    path = tmp_path / "store.sqlite"
    upkeep = Upkeep(store, Retention(store, State(), lambda: NOON), str(path))
    with store.reading.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        task = spawn(upkeep.run(), "upkeep")
        await asyncio.sleep(0.2)
        assert upkeep.size >= path.stat().st_size, "with what is in the log"
        assert counts(store)[0] == 2505
        other.execute("ROLLBACK")
    async with asyncio.timeout(60):
        while upkeep.removed[AGE] < 2500:
            await asyncio.sleep(0.01)
    assert counts(store)[0] == 5
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    upkeep.close()

"""A million traces: pages of them are quick, and a walk through them sees each once while others arrive.

`pytest -m proof -s tests/proof/test_traces.py` prints how long the pages take. It wants an idle machine.
"""

import itertools
import random
import statistics
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.control.api import traces
from gateway.control.api.call import Caller
from gateway.control.store import Store, open_store, upgrade_store
from tests.bench.fill import Traces, fill
from tests.gateway.control.api.stage import ADMIN, Stage, playing
from tests.gateway.control.query.rows import store_rows
from tests.gateway.control.records import NOON
from tests.postgres import need_postgres, running_postgres

pytestmark = pytest.mark.proof

ROWS = 1_000_000
PAGE_MS = 50.0  # p95 of a filtered page of 50
REPEATED = 20
DAY = 86_400  # seconds
READ = frozenset({"traces:read"})


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def million(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "sqlite":
        yield from _filled(str(tmp_path_factory.mktemp("store") / "store.sqlite"))
        return
    need_postgres()
    with running_postgres() as server:
        yield from _filled(server.make_database())


def _filled(location: str) -> Iterator[Store]:
    upgrade_store(location)
    store = open_store(location)
    fill(store, Traces(ROWS, 30.0, NOON, consumers=500, projects=12, seed=1))
    if store.is_shared:
        with store.writing.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # as its autovacuum does by and by
    yield store
    store.close()


@pytest.fixture
async def stage(million: Store) -> AsyncIterator[Stage]:
    async with playing(million, traces.ENDPOINTS) as made:
        yield made


def viewer(dice: random.Random) -> Caller:
    return Caller("somebody", f"project-{dice.randrange(12)}", "viewer", READ)


def consumer(dice: random.Random) -> Caller:
    return Caller(f"consumer-{dice.randrange(1, 500):04d}")


def window(dice: random.Random) -> dict[str, Any]:
    days = dice.randrange(1, 29)
    return {"from": f"{days + 1}d", "to": f"{days}d"}


QUESTIONS: dict[str, Any] = {  # who asks, and for what
    "all, the newest": lambda dice: (ADMIN, {}),
    "own, the newest": lambda dice: (consumer(dice), {}),
    "own, a day": lambda dice: (consumer(dice), window(dice)),
    "own, errors": lambda dice: (consumer(dice), {"status": "error"}),
    "a project, the newest": lambda dice: (viewer(dice), {}),
    "a project, a model in a week": lambda dice: (viewer(dice), {"model": "gpt-4o-mini", "from": "7d"}),
    "a project, errors": lambda dice: (viewer(dice), {"status": "error"}),
    "a project, a user": lambda dice: (viewer(dice), {"user_id": f"user-{dice.randrange(500)}"}),
    "a project, a session": lambda dice: (viewer(dice), {"session_id": f"s-{dice.randrange(99)}-{dice.randrange(40)}"}),
    "all, errors of one kind": lambda dice: (ADMIN, {"error": 1501}),
    "all, a tier of a provider": lambda dice: (ADMIN, {"tier": "pro", "provider": "vllm", "operation_type": "chat"}),
    "all, a tag": lambda dice: (ADMIN, {"tags": "nightly"}),
    "all, longer than 20 s": lambda dice: (ADMIN, {"min_duration_ms": 20_000}),
    "all, dearer than 0.2 cents": lambda dice: (ADMIN, {"min_cost": 0.002}),
    "a project, words": lambda dice: (viewer(dice), {"text": dice.choice(("rivers", "weather prices"))}),
}


async def test_filtered_pages_are_quick(stage: Stage) -> None:
    dice = random.Random(1)
    slow = {}
    for name, question in QUESTIONS.items():
        times = []
        for _ in range(REPEATED):
            caller, parameters = question(dice)
            begin = time.perf_counter()
            await stage.get("/api/v1/traces", caller, **parameters)
            times.append((time.perf_counter() - begin) * 1000)
        times.sort()
        p95 = times[int(0.95 * REPEATED) - 1]
        print(f"{name:30} p50 {statistics.median(times):6.1f} ms   p95 {p95:6.1f} ms")
        if p95 > PAGE_MS:
            slow[name] = p95
    assert not slow


async def test_a_walk_sees_each_once_while_others_arrive(stage: Stage, million: Store) -> None:
    done = threading.Event()
    months = (Traces(200_000, 30.0, NOON, consumers=500, projects=12, seed=seed) for seed in itertools.count(2))
    arrivals = itertools.chain.from_iterable(months)
    arrived: list[str] = []

    def arrive() -> None:
        while not done.is_set():
            rows = [next(arrivals) for _ in range(50)]
            store_rows(million, rows)
            arrived.extend(row.opened.id for row in rows)

    thread = threading.Thread(target=arrive)
    with million.reading.connect() as connection:
        before = {id for (id,) in connection.exec_driver_sql("SELECT id FROM requests")}
    thread.start()
    seen: set[str] = set()
    cursor: str | None = ""
    try:
        while cursor is not None:
            more = {"cursor": cursor} if cursor else {}
            page = await stage.get("/api/v1/traces", limit=1000, fields="id", **more)
            ids = {row["id"] for row in page["data"]}
            assert len(ids) == len(page["data"]) and not ids & seen
            seen |= ids
            cursor = page["pagination"]["cursor"]
    finally:
        done.set()
        thread.join()
    print(f"{len(seen):,} seen, {len(arrived):,} arrived meanwhile")
    assert before <= seen <= before | set(arrived)

"""A million requests in the store: how quickly a month of them is told, and that model calls do not notice.

Prints what it measures (`pytest -s`). It wants an idle machine.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import text

from gateway.control.analytics.opinions import keep_abouts
from gateway.control.analytics.roller import fold_all
from gateway.control.api import analytics, usage
from gateway.control.store import Store, open_store, upgrade_store
from gateway.settings.state import store_file
from tests.bench import paced
from tests.bench.fill import Traces, fill
from tests.bench.place import KEY, MODEL
from tests.gateway.control.api.stage import Stage, playing
from tests.harness import Gateway, config, running_gateway
from tests.postgres import need_postgres, running_postgres

pytestmark = pytest.mark.proof

ROWS = int(os.environ.get("TOLLKEEPER_PROOF_ROWS", "1000000"))
TARGET = 0.2  # seconds, p95
REPEATED = 40
QUERIES = [
    (endpoint.path, query)
    for endpoint in analytics.ENDPOINTS
    if endpoint.path.startswith("/api/v1/analytics")
    for query in ({}, {"group_by": "model"}, {"group_by": "project,day"}, {"group_by": "consumer"})
]
_MONTH = {"from": "30d"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def million(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with contextlib.ExitStack() as stack:
        location = str(tmp_path_factory.mktemp("store") / "store.sqlite")
        if request.param == "postgresql":
            need_postgres()
            server = stack.enter_context(running_postgres())
            location = server.make_database()
        yield make_million(location)


def make_million(location: str, end: int | None = None) -> Store:
    upgrade_store(location)
    store = open_store(location)
    fill(store, Traces(ROWS, 30.0, end or time.time_ns() // 1000, consumers=500, projects=12, seed=1))
    began = time.monotonic()
    fold_all(store)
    while keep_abouts(store):
        pass
    print(f"\n{store.reading.dialect.name}: {ROWS:,} requests rolled up in {time.monotonic() - began:.1f} s")
    if store.is_shared:  # as its autovacuum would in a minute
        with store.reading.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return store


async def test_a_month_is_told_quickly(million: Store) -> None:
    now = time.time_ns() // 1000
    slow = {}
    async with playing(million, (*analytics.ENDPOINTS, *usage.ENDPOINTS)) as stage:
        stage.now = now
        month = time.strftime("%Y-%m", time.gmtime(now // 1_000_000))
        for path, query in [*QUERIES, (f"/api/v1/usage/{month}", None)]:
            p50, p95 = await time_calls(stage, path, query)
            print(f"{path} {query or ''}: p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")
            if p95 > TARGET:
                slow[path, str(query)] = p95
    assert not slow


async def time_calls(stage: Stage, path: str, query: dict[str, str] | None) -> tuple[float, float]:
    parameters = {} if query is None else {**_MONTH, **query}
    taken = []
    for _ in range(REPEATED):
        began = time.monotonic()
        await stage.get(path, **parameters)
        taken.append(time.monotonic() - began)
    taken.sort()
    return taken[REPEATED // 2], taken[int(0.95 * REPEATED) - 1]


async def test_model_calls_do_not_notice(tmp_path: Path) -> None:
    """A dashboard asks ten times a second for a month while calls come at a pace; in turns with nobody asking.

    A model that takes a tenth of a second is the measure. Beside it what the gateway and an echo take is told: what
    has to wait for a processor of a small machine is seen there.
    """
    (tmp_path / "var").mkdir(mode=0o700)
    make_million(store_file(str(tmp_path / "var"))).close()
    caller = {"tier": "open", "keys": [{"sha256": sha256(KEY.encode()).hexdigest()}]}
    document = config(models={MODEL: {"backend": "echo"}}, consumers={"bench": caller})
    with running_gateway(document, folder=tmp_path) as gateway:
        assert (await compare(gateway, 0.0))["p50"] < 5
        assert (await compare(gateway, 0.1))["p99"] <= 1.1


async def compare(gateway: Gateway, delay: float) -> dict[str, float]:
    """By percentile: how much longer calls of a model take that answers after `delay` seconds."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "echo": {"delay": delay}})
    quiet, asked = [], []
    for _ in range(5):
        quiet.append(await paced.measure(gateway.address[1], 200, 5, body))
        async with asking(gateway) as answers:
            asked.append(await paced.measure(gateway.address[1], 200, 5, body))
        assert answers and set(answers) == {200}
    ratios = {}
    for name in ("p50", "p99"):
        before, meanwhile = (sorted(run[name] for run in runs)[2] * 1000 for runs in (quiet, asked))
        ratios[name] = meanwhile / before
        print(f"{delay:g} s, {name}: {before:.2f} ms alone, {meanwhile:.2f} ms with analytics ({ratios[name]:.2f}x)")
    return ratios


@contextlib.asynccontextmanager
async def asking(gateway: Gateway) -> AsyncIterator[list[int]]:
    """Statuses of what the dashboard asks for, one question after the other, with pauses."""
    answers: list[int] = []
    headers = {"Authorization": f"Bearer {gateway.admin_key}"}
    url = gateway.admin_url

    async def ask() -> None:
        async with aiohttp.ClientSession(headers=headers) as session:
            while True:
                for path, query in QUERIES:
                    async with session.get(url + path, params={**_MONTH, **query}) as answer:
                        await answer.read()
                        answers.append(answer.status)
                    await asyncio.sleep(0.1)

    task = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

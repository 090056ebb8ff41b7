"""Four replicas with two workers each on one Redis: the limits hold for all together, whatever is done to them."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness import Document, Gateway, eventually, running_gateway
from tests.process.test_clock import LIBRARY
from tests.process.test_redis import check_bound, flush_scripts, replicas, shared, spend
from tests.redis import Server, running_cluster, running_redis

pytestmark = pytest.mark.proof

SECONDS = 60.0
CONNECTIONS = 64


def limited(server: Server, rate: int, burst: int, cost: float = 1.0) -> Document:
    tiers = {"free": {"rate": f"{rate}/min", "burst": burst}}
    return shared(server, tiers=tiers, routes=[{"path": "/v1/chat/completions", "cost": cost}])


@pytest.mark.parametrize("rate,burst", [(1000, 1500), (100, 150)])
async def test_one_rate_for_all(rate: int, burst: int) -> None:
    with running_redis() as server, replicas(limited(server, rate, burst), 4) as gateways:
        answers, window = await spend(gateways, "free", SECONDS, CONNECTIONS)
        check_bound(answers, window, rate, burst)
        print(_describe(answers, window, rate, burst))


@pytest.mark.parametrize("cost", [0.5, 2.0])
async def test_f34_while_scripts_are_flushed_twenty_times_a_second(cost: float) -> None:
    async def flush(server: Server) -> None:
        while True:
            await flush_scripts(server)

    with running_redis() as server, replicas(limited(server, 1000, 1500, cost), 4) as gateways:
        flushing = asyncio.get_running_loop().create_task(flush(server))
        answers, window = await spend(gateways, "free", SECONDS / 2, CONNECTIONS)
        flushing.cancel()
        check_bound(answers, window, 1000, 1500, cost)


@pytest.mark.skipif(LIBRARY is None, reason="no libfaketime: apt-get install faketime")
async def test_f37_with_clocks_an_hour_apart(tmp_path: Path) -> None:
    """Rates and months alike: every instance charges the same counter."""
    with running_redis() as server, ExitStack() as stack:
        document = limited(server, 1000, 1500)
        document["tiers"]["free"]["monthly"] = 1_000_000
        gateways: list[Gateway] = []
        for offset in ("+0", "+1h", "-1h", "+45d"):
            environment = {"LD_PRELOAD": str(LIBRARY), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            gateways.append(stack.enter_context(running_gateway(document, workers=2, environment=environment)))
        eventually(lambda: all(g.status()["ledger"]["replicas"] == 4 for g in gateways), 8.0)
        answers, window = await spend(gateways, "free", SECONDS / 2, CONNECTIONS)
        check_bound(answers, window, 1000, 1500)
        await asyncio.sleep(0.5)  # leases that lie idle go back
        admitted = sum(answer.status == 200 for answer in answers)
        months = [key for key in server.call("KEYS", "*:month*") if b"consumer" in key]
        assert len(months) == 1
        assert int(server.call("HGET", months[0], "used")) == 1000 * admitted


async def test_during_reloads() -> None:
    async def reload(gateways: list[Gateway], document: Document) -> None:
        for number in range(3):
            await asyncio.sleep(SECONDS / 10)
            document = {**document, "limits": {"body": 1_000_000 + number}}
            for gateway in gateways:
                await asyncio.to_thread(gateway.reload, document)

    with running_redis() as server:
        document = limited(server, 1000, 1500)
        with replicas(document, 4) as gateways:
            reloading = asyncio.get_running_loop().create_task(reload(gateways, {**document, "workers": 2}))
            answers, window = await spend(gateways, "free", SECONDS / 2, CONNECTIONS)
            await reloading
            check_bound(answers, window, 1000, 1500)


async def test_a_cluster_with_limits_of_several_scopes() -> None:
    """The consumer's, the address's and the model's limits live on different nodes; the tightest one decides."""
    with running_cluster() as servers:
        document = shared(
            servers[0],
            tiers={
                "free": {"rate": "1000/min", "burst": 1500, "limits": [{"rate": "300/min", "burst": 100, "by": "ip"}]}
            },
            models={"echo": {"backend": "echo", "limits": [{"rate": "600/min", "burst": 200}]}},
        )
        with replicas(document, 4) as gateways:
            answers, window = await spend(gateways, "free", SECONDS / 2, CONNECTIONS)
            check_bound(answers, window, 300, 100)


def _describe(answers: list[object], window: float, rate: int, burst: int) -> str:
    admitted = sum(getattr(answer, "status", 0) == 200 for answer in answers)
    return f"{admitted} of {len(answers)} admitted in {window:.2f} s; B + rW is {burst + rate * window / 60:.1f}"

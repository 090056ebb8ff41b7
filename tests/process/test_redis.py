"""A gateway on a Redis that dies, hangs, is slow, forgets, or is full: no request is lost, the month comes right."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.load import Answer, Client, Load, chat
from tests.process.test_exactness import check_books
from tests.redis import Server, running_redis

BUDGET = 0.05  # seconds that Redis may cost a request
SLACK = 0.1  # seconds by which this machine may be late
Fault = Callable[[Server], Awaitable[None]]


def shared(server: Server, **changes: Any) -> Document:
    """The configuration of a replica on `server`."""
    return config(state={"redis": server.url}, **changes)


@pytest.fixture
def server() -> Iterator[Server]:
    with running_redis() as server:
        yield server


async def kill(server: Server) -> None:
    server.kill()
    await asyncio.sleep(1.5)
    server.start()


async def hang(server: Server) -> None:
    server.signal(signal.SIGSTOP)
    await asyncio.sleep(1.5)
    server.signal(signal.SIGCONT)


async def slow(server: Server) -> None:
    for _ in range(3):
        server.call("CLIENT", "PAUSE", 200)
        await asyncio.sleep(0.5)


async def full(server: Server) -> None:
    server.call("CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(1.5)
    server.call("CONFIG", "SET", "maxmemory", "0")


async def forget(server: Server) -> None:
    server.call("FLUSHALL")
    await asyncio.sleep(0.5)
    server.call("SCRIPT", "FLUSH")


async def flush_scripts(server: Server) -> None:
    for _ in range(30):
        server.call("SCRIPT", "FLUSH")
        await asyncio.sleep(0.05)


async def drop_connections(server: Server) -> None:
    for _ in range(5):
        server.call("CLIENT", "KILL", "TYPE", "normal")
        await asyncio.sleep(0.3)


@pytest.mark.parametrize("fault", [kill, hang, slow, full, forget, flush_scripts, drop_connections])
async def test_f31_to_f36_every_request_is_answered_and_counted(fault: Fault, server: Server) -> None:
    with running_gateway(shared(server), workers=2) as gateway:
        load = Load(gateway.address, gateway.key("monthly"), pause=0.01)
        load.start(8)
        await asyncio.sleep(0.5)
        await fault(server)
        await asyncio.to_thread(eventually, lambda: gateway.status()["ledger"]["up"], 4.0, "Redis is used again")
        await asyncio.sleep(0.5)
        await load.stop()
        load.check_flawless()
        took = sorted(answer.received - answer.sent for answer in load.whole.values())
        assert took[-6] < BUDGET + SLACK, "more than a few were slow"
        await asyncio.sleep(2.5)  # what was forgotten is told again
        await check_books(gateway, load)


async def test_f31_the_policies_of_tiers(server: Server) -> None:
    tiers = {
        "local": {"rate": "600/min", "burst": 600},
        "closed": {"rate": "600/min", "on_ledger_loss": "closed"},
        "open": {"rate": "1/min", "burst": 1, "on_ledger_loss": "open"},
    }
    with running_gateway(shared(server, tiers=tiers)) as gateway:
        clients = {tier: Client(gateway.address, gateway.key(tier)) for tier in tiers}
        assert {(await client.ask(chat())).status for client in clients.values()} == {200}
        server.kill()
        await asyncio.to_thread(eventually, lambda: not gateway.status()["ledger"]["up"])
        closed = await clients["closed"].ask(chat())
        assert (closed.status, closed.json["error"]["number"]) == (503, 1601) and closed.headers["retry-after"]
        for _ in range(5):
            opened = await clients["open"].ask(chat())
            assert (opened.status, opened.headers["x-ratelimit-mode"]) == (200, "degraded")
        await clients["local"].ask(chat())  # the share starts empty
        await asyncio.sleep(0.25)  # two units flow back
        local = [await clients["local"].ask(chat()) for _ in range(20)]
        assert local[0].status == 200 and local[0].headers["x-ratelimit-mode"] == "degraded"
        assert local[-1].status == 429
        metrics = gateway.metrics()
        assert metrics['tollkeeper_ledger_up{authority="redis"}'] == 0.0
        assert metrics['tollkeeper_ledger_degraded_total{policy="open"}'] == 5.0
        server.start()
        await asyncio.to_thread(eventually, lambda: gateway.status()["ledger"]["up"], 2.5)
        assert (await clients["closed"].ask(chat())).status == 200
        for client in clients.values():
            client.close()


async def test_f30_a_gateway_starts_without_redis(server: Server) -> None:
    server.kill()
    begun = time.monotonic()
    with running_gateway(shared(server)) as gateway:
        assert time.monotonic() - begun < 10
        client = Client(gateway.address, gateway.key("monthly"))
        assert (await client.ask(chat())).status == 200
        server.start()
        await asyncio.to_thread(eventually, lambda: gateway.status()["ledger"]["up"], 2.5)
        assert (await client.ask(chat())).status == 200
        client.close()


async def test_f35_a_replica_is_promoted(server: Server) -> None:
    """The gateway's server becomes a replica: it is left for as long as it takes no writes."""
    with running_redis() as other, running_gateway(shared(server)) as gateway:
        load = Load(gateway.address, gateway.key("monthly"), pause=0.01)
        load.start(4)
        await asyncio.sleep(0.3)
        server.call("REPLICAOF", "127.0.0.1", other.port)
        await asyncio.to_thread(eventually, lambda: not gateway.status()["ledger"]["up"])
        server.call("REPLICAOF", "NO", "ONE")
        await asyncio.to_thread(eventually, lambda: gateway.status()["ledger"]["up"], 3.0)
        await asyncio.sleep(0.3)
        await load.stop()
        load.check_flawless()
        await asyncio.sleep(2.5)
        await check_books(gateway, load)


async def test_a_dead_worker_is_settled_and_its_month_survives_a_wipe(server: Server) -> None:
    with running_gateway(shared(server), workers=2) as gateway:
        load = Load(gateway.address, gateway.key("monthly"), pause=0.01)
        load.start(8)
        await asyncio.sleep(0.7)
        os.kill(gateway.workers()[0], signal.SIGKILL)
        await asyncio.sleep(0.7)
        await load.stop()
        await check_books(gateway, load)
        server.call("FLUSHALL")
        await asyncio.sleep(2.5)
        rows = gateway.rows()
        key = next(key for key in server.call("KEYS", "*") if b"month" in key and b"demo-monthly" in key)
        assert int(server.call("HGET", key, "used")) == sum(row["units"] for row in rows)


# --- several replicas


async def spend(gateways: list[Gateway], tier: str, seconds: float, connections: int) -> tuple[list[Answer], float]:
    """What so many connections, spread over all gateways, get in so many seconds, and how long that truly took."""
    answers: list[Answer] = []
    end = time.monotonic() + seconds

    async def ask(gateway: Gateway) -> None:
        client = Client(gateway.address, gateway.key(tier))
        while time.monotonic() < end:
            answers.append(await client.ask(chat()))
            if answers[-1].status == 429:
                await asyncio.sleep(0.01)
        client.close()

    await asyncio.gather(*[ask(gateways[number % len(gateways)]) for number in range(connections)])
    return answers, max(a.received for a in answers) - min(a.sent for a in answers)


def check_bound(answers: list[Answer], window: float, rate: int, burst: int, cost: float = 1.0) -> None:
    """At most B + rW and what may be on lease, and nearly all of it."""
    units = sum(answer.status == 200 for answer in answers) * cost
    assert {answer.status for answer in answers} <= {200, 429}
    most = burst + rate * window / 60
    lent = burst // 100 if burst // 100 >= 2 else 0
    assert 0.99 * most - 2 * cost <= units <= most + lent, (units, most, lent)


@contextmanager
def replicas(document: Document, count: int, **options: Any) -> Iterator[list[Gateway]]:
    """So many gateways that know of each other."""
    with ExitStack() as stack:
        gateways = [stack.enter_context(running_gateway(document, workers=2, **options)) for _ in range(count)]
        eventually(lambda: all(g.status()["ledger"]["replicas"] == count for g in gateways), 8.0, "all replicas")
        yield gateways


@pytest.mark.parametrize("rate,burst", [(1000, 1500), (100, 150)])
async def test_two_replicas_keep_one_rate(server: Server, rate: int, burst: int) -> None:
    document = shared(server, tiers={"free": {"rate": f"{rate}/min", "burst": burst}})
    with replicas(document, 2) as gateways:
        answers, window = await spend(gateways, "free", 8.0, 32)
        check_bound(answers, window, rate, burst)


@pytest.mark.parametrize("cost", [0.5, 2.0])
async def test_f34_a_rate_holds_while_scripts_are_flushed(server: Server, cost: float) -> None:
    routes = [{"path": "/v1/chat/completions", "cost": cost}]
    document = shared(server, tiers={"free": {"rate": "1000/min", "burst": 500}}, routes=routes)
    with replicas(document, 2) as gateways:
        flushing = asyncio.get_running_loop().create_task(flush_scripts(server))
        answers, window = await spend(gateways, "free", 4.0, 16)
        await flushing
        check_bound(answers, window, 1000, 500, cost)

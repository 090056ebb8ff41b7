"""Limits that only a whole gateway shows: what several workers share, costs by method, overrides that come and go."""

import asyncio
import os
import signal
import time
from collections import Counter

from gateway.cli.session import ask
from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Client, Cut, chat


async def ask_at_once(gateway: Gateway, tier: str, count: int, delay: float) -> Counter[int]:
    """Each on a connection of its own, so that all workers see some; 0 for what was cut."""

    async def ask() -> int:
        client = Client(gateway.address, gateway.key(tier))
        try:
            return (await client.ask(chat(delay=delay))).status
        except Cut:
            return 0
        finally:
            client.close()

    return Counter(await asyncio.gather(*[ask() for _ in range(count)]))


async def test_so_many_at_once_over_all_workers_and_deaths() -> None:
    document = config(tiers={"few": {"concurrency": 5}})
    with running_gateway(document, workers=2) as gateway:
        assert await ask_at_once(gateway, "few", 20, 0.5) == {200: 5, 429: 15}
        assert await ask_at_once(gateway, "few", 5, 0.0) == {200: 5}, "all came back"
        asking = asyncio.create_task(ask_at_once(gateway, "few", 5, 1.0))
        await asyncio.sleep(0.4)
        gateway.note_processes()
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
        assert (await asking).keys() == {0}
        deadline = time.monotonic() + 10
        while await ask_at_once(gateway, "few", 5, 0.3) != {200: 5}:
            assert time.monotonic() < deadline, "what dead workers held comes back"
        assert await ask_at_once(gateway, "few", 9, 0.5) == {200: 5, 429: 4}


async def test_methods_may_cost_something_else() -> None:
    routes = [{"path": "/echo", "to": "echo", "cost": 2.0, "costs": {"GET": 0.5}}]
    with running_gateway(config(routes=routes)) as gateway:
        client = Client(gateway.address, gateway.key("free"))
        for method, cost in (("GET", 500), ("POST", 2000)):
            await client.ask(path="/echo", method=method, request_id=method)
            row = eventually(lambda name=method: gateway.query("SELECT * FROM requests WHERE request_id = ?", name))[0]
            assert row["units"] == cost
        client.close()


async def test_an_override_of_the_store_holds_at_once() -> None:
    with running_gateway(config(), workers=2) as gateway:
        key = gateway.command("key.new", consumer="acme", tier="free")["key"]
        client = Client(gateway.address, key, fresh=True)

        async def told() -> str:
            return (await client.ask(chat())).headers["x-quota-tier"]

        assert await told() == "free"
        soon = int((time.time_ns() / 1e9 + 1.5) * 1e6)
        wish = {"name": "acme", "tier": "free", "override_tier": "open", "override_until": soon}
        await asyncio.to_thread(ask, str(gateway.state), "consumer.set", wish)
        await asyncio.sleep(0.3)
        assert {await told() for _ in range(6)} == {"open"}
        await asyncio.sleep(1.4)
        assert {await told() for _ in range(6)} == {"free"}


async def test_an_override_of_the_file() -> None:
    document = config()
    document["consumers"] = {
        "acme": {"tier": "free", "override": {"rate": "5000/min"}, "keys": [{"key": "key-of-acme-0001"}]}
    }
    with running_gateway(document) as gateway:
        client = Client(gateway.address, "key-of-acme-0001")
        headers = (await client.ask(chat())).headers
        client.close()
        assert (headers["x-quota-tier"], headers["x-ratelimit-limit"]) == ("override:acme", "7500")
        assert headers["ratelimit-policy"] == '"override:acme";q=5000;w=60'

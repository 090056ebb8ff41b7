"""Three engines and memory for one: real processes, three tiers, and what each may do to the others' models."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.load import Answer, Client, chat

MODELS = ("a", "b", "c")
RESIDENCY = 0.7  # seconds
TIERS = {
    "free": {"may_load": False},
    "pro": {},
    "enterprise": {"may_evict": True},
}


def shared(**backend: Any) -> Document:
    """Memory for one of three."""
    engine = {"echo": {}, "memory": "1GB", "residency": f"{RESIDENCY * 1000:.0f}ms", "slots": 4, "queue": 1000}
    return config(
        memory="1500MB",
        tiers=TIERS,
        backends={name: {**engine, **backend} for name in MODELS},
        models={name: {"backend": name} for name in MODELS},
        routes=[{"path": "/v1/chat/completions"}],
    )


async def ask(gateway: Gateway, model: str, tier: str, **echo: Any) -> Answer:
    client = Client(locate(gateway), gateway.key(tier), fresh=True)
    try:
        return await client.ask({**chat(**echo), "model": model})
    finally:
        client.close()


_addresses: dict[int, tuple[str, int]] = {}


def locate(gateway: Gateway) -> tuple[str, int]:
    """The address, asked for once: a command for each of many requests would be a load of its own."""
    if gateway.pid not in _addresses:
        _addresses[gateway.pid] = gateway.address
    return _addresses[gateway.pid]


def verdict(answer: Answer) -> int:
    """200, or the number of the refusal."""
    return 200 if answer.status == 200 else int(answer.json["error"]["number"])


def loaded(gateway: Gateway) -> set[str]:
    return {name for name, engine in gateway.status()["engines"].items() if engine["resident"]}


class Watch:
    """What runs, seen every few milliseconds: the engines' processes, and when each was there first and last."""

    def __init__(self, gateway: Gateway) -> None:
        self._supervisor = psutil.Process(gateway.pid)
        self.most = 0
        self.seen: dict[int, list[float]] = {}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["Watch"]:
        task = asyncio.create_task(self._look_on())
        yield self
        task.cancel()

    async def _look_on(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(0.02)

    def _look(self) -> None:
        running = []
        for process in self._supervisor.children(recursive=True):
            try:
                if (
                    "backends.echo.server" in process.cmdline()
                    and process.exe()
                    and "shim.py" not in str(process.cmdline())
                ):
                    running.append(process.pid)
            except psutil.Error:
                continue
        self.most = max(self.most, len(running))
        for pid in running:
            self.seen.setdefault(pid, [time.monotonic(), 0.0])[1] = time.monotonic()

    def shortest_life(self) -> float:
        """Of those that are gone."""
        lives = sorted(self.seen.values())[:-1]
        return min(last - first for first, last in lives)


def enough(gateway: Gateway, count: int) -> list[Any]:
    """The rows of the store, once all requests are there."""
    rows = gateway.rows()
    return rows if len(rows) >= count else []


async def test_f28_two_hundred_requests_for_random_models_from_three_tiers() -> None:
    with running_gateway(shared(), workers=2) as gateway:
        dice = random.Random(4)
        turns = asyncio.Semaphore(24)

        async def one() -> tuple[str, int]:
            async with turns:
                tier = dice.choice(list(TIERS))
                return tier, verdict(await ask(gateway, dice.choice(MODELS), tier))

        watch = Watch(gateway)
        async with watch.watching(), asyncio.timeout(100):
            told = Counter(await asyncio.gather(*(one() for _ in range(200))))
        assert watch.most == 1, "never more than the budget"
        assert len(watch.seen) >= 3, "it swapped"
        assert watch.shortest_life() >= RESIDENCY
        assert {number for tier, number in told if tier == "free"} <= {200, 1108}
        assert {number for tier, number in told if tier == "pro"} <= {200, 1714}
        assert {number for tier, number in told if tier == "enterprise"} == {200}, told
        assert told["pro", 200] and told["free", 1108] and told["pro", 1714], told
        waits = [row for row in eventually(lambda: enough(gateway, sum(told.values()))) if row["load_us"] > 100_000]
        named = sum(row["queue_us"] + row["load_us"] + row["connect_us"] + row["overhead_us"] for row in waits)
        assert 0.95 <= named / sum(row["total_us"] for row in waits) <= 1, "and the waits explain how long it took"


async def test_what_a_tier_may_do_to_others() -> None:
    with running_gateway(shared()) as gateway:
        assert not loaded(gateway), "on demand"
        refused = await ask(gateway, "a", "free")
        assert (refused.status, verdict(refused)) == (403, 1108)
        assert refused.headers["x-should-retry"] == "false"
        assert not loaded(gateway), "nothing was loaded for it"
        assert verdict(await ask(gateway, "a", "pro")) == 200
        assert verdict(await ask(gateway, "a", "free")) == 200, "what is loaded may be used"
        pids = gateway.engine_pids()
        refused = await ask(gateway, "b", "pro")
        assert (refused.status, verdict(refused)) == (503, 1714)
        assert int(refused.headers["retry-after"]) in (1, 2, 30), "what is left of the minimum residency, if anything"
        assert "may_evict" in refused.json["error"]["details"]["help"]
        await asyncio.sleep(RESIDENCY)
        assert verdict(await ask(gateway, "b", "pro")) == 1714, "nor later"
        assert gateway.engine_pids() == pids, "no swap by a tier that may not"
        assert verdict(await ask(gateway, "b", "enterprise")) == 200
        assert loaded(gateway) == {"b"}


async def test_a_swap_waits_for_what_runs() -> None:
    with running_gateway(shared()) as gateway:
        slow = asyncio.create_task(ask(gateway, "a", "pro", chunks=5, delay=2.0))
        await asyncio.to_thread(eventually, lambda: gateway.status()["engines"]["a"]["in_use"])
        began = time.monotonic()
        other = asyncio.create_task(ask(gateway, "b", "enterprise"))
        await asyncio.to_thread(eventually, lambda: gateway.status()["engines"]["a"]["closed"])
        late = await ask(gateway, "a", "pro")
        assert verdict(late) == 1714, "it is being emptied: newcomers would keep it for ever"
        assert verdict(await slow) == 200
        assert verdict(await other) == 200
        assert time.monotonic() - began >= 1
        assert int(float((await other).headers["x-tollkeeper-queue-ms"])) >= 1000, "and the wait is told"


async def test_f29_five_hundred_at_once_on_a_cold_model() -> None:
    with running_gateway(shared(), workers=2) as gateway:
        answers = await asyncio.gather(*(ask(gateway, "a", "pro") for _ in range(500)))
        assert Counter(map(verdict, answers)) == {200: 500}
        assert gateway.status()["engines"]["a"]["load"] == "a-1", "one spawn"


async def test_idle_engines_go_and_come_back() -> None:
    with running_gateway(shared(idle="1s")) as gateway:
        assert verdict(await ask(gateway, "a", "pro")) == 200
        assert loaded(gateway) == {"a"}
        await asyncio.to_thread(eventually, lambda: not loaded(gateway))
        assert verdict(await ask(gateway, "b", "pro")) == 200, "there is room again, for one who may not evict"


async def test_preload_pin_and_reload() -> None:
    document = shared()
    document["models"]["a"] = {"backend": "a", "preload": True, "pin": True}
    document["memory"] = "2500MB"
    with running_gateway(document) as gateway:
        assert loaded(gateway) == {"a"}
        before = gateway.status()["engines"]["a"]["pid"]
        for model in ("b", "c", "b"):
            assert verdict(await ask(gateway, model, "enterprise")) == 200
        assert loaded(gateway) == {"a", "b"}, "the pinned stays"
        assert gateway.status()["memory"] == {"budget": 2_500_000_000, "taken": 2_000_000_000}
        document["backends"]["c"]["echo"] = {"models": ["other"]}
        gateway.reload(document)
        assert loaded(gateway) == {"a", "b"}
        assert gateway.status()["engines"]["a"]["pid"] == before, "untouched by the reload"
        document["memory"] = "1500MB"
        gateway.reload(document)
        await asyncio.to_thread(eventually, lambda: loaded(gateway) == {"a"})
        assert verdict(await ask(gateway, "b", "enterprise")) == 1716


@pytest.mark.parametrize("tier", ["pro", "free"])
async def test_who_waits_for_a_load_may_leave(tier: str) -> None:
    with running_gateway(shared()) as gateway:
        client = Client(gateway.address, gateway.key("pro"), fresh=True)
        asking = asyncio.create_task(client.ask({**chat(), "model": "a"}))
        await asyncio.to_thread(eventually, lambda: gateway.status()["engines"]["a"]["resident"])
        asking.cancel()
        client.close()
        assert verdict(await ask(gateway, "a", tier)) == 200, "what another has begun to load may be waited for"
        await asyncio.to_thread(eventually, lambda: gateway.status()["engines"]["a"]["in_use"] == 0)

"""Engines that start slowly, hang on, or leave children behind, seen through a whole gateway."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from tests.harness import Document, Gateway, config, eventually, is_alive, running_gateway
from tests.load import Answer, Client

FAKE = Path(__file__).parents[1] / "gateway" / "engines" / "fake_engine.py"


def document(*flags: str, **backend: Any) -> Document:
    """One slot, two who may wait."""
    run = " ".join((sys.executable, "-I", "-S", str(FAKE), "--port={port}", *flags))
    fake = {"command": {"run": run, "start": "60s", "stop": "500ms"}, "slots": 1, "queue": 2, **backend}
    return config(backends={"fake": fake}, models={}, routes=[{"path": "/*", "to": "fake"}])


async def post(gateway: Gateway, path: str = "/x") -> Answer:
    client = Client(gateway.address, gateway.key("open"), fresh=True)
    try:
        return await client.ask({}, path)
    finally:
        client.close()


def engine(gateway: Gateway) -> Any:
    return gateway.status()["engines"]["fake"]


async def test_f22_nobody_is_sent_to_an_engine_that_is_not_ready(tmp_path: Path) -> None:
    """It listens, and says 503 until it is warm. Three may wait for that, the others are told at once."""
    warm = tmp_path / "warm"
    with running_gateway(document(f"--warm={warm}", load="demand")) as gateway:
        asking = [asyncio.create_task(post(gateway)) for _ in range(3)]
        await asyncio.to_thread(eventually, lambda: engine(gateway)["loading"] == 3, 20.0)
        refused = [await post(gateway) for _ in range(10)]
        assert engine(gateway)["state"] == "starting"
        warm.touch()
        assert {(answer.status, answer.json["error"]["number"]) for answer in refused} == {(503, 1709)}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert min(answer.received - answer.sent for answer in refused) < 5 * 0.05
        assert [(await asked).status for asked in asking] == [200] * 3
        assert "asked too early" not in gateway.command("models.logs", model="fake")


async def test_f25_no_child_of_an_engine_survives_the_supervisor(tmp_path: Path) -> None:
    """Though it ignores SIGTERM, and its child does; and a new gateway starts at the same addresses."""
    asked = document("--fork-child", "--ignore-term")
    with running_gateway(asked, folder=tmp_path) as gateway:
        family = [member.pid for member in gateway.processes()]
        port = engine(gateway)["port"]
        assert len(psutil.Process(engine(gateway)["pid"]).children()) == 1
        gateway.kill()
        killed = time.monotonic()
        await asyncio.to_thread(eventually, lambda: not any(map(is_alive, family)), 20.0)
        assert time.monotonic() - killed < 5 * 2, "two seconds on a quiet machine"
    with running_gateway(asked, folder=tmp_path) as gateway:
        assert (await post(gateway)).status == 200
        assert engine(gateway)["port"] != port or engine(gateway)["pid"] not in family


async def test_f26_a_gateway_ends_though_its_engine_does_not_want_to() -> None:
    with running_gateway(document("--fork-child", "--ignore-term")) as gateway:
        assert (await post(gateway)).status == 200
        assert gateway.stop() == 0
        assert not gateway.survivors()

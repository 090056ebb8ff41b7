"""Everything at once, at random: kills, reloads, rolling restarts. The books stay exact and nothing is left over."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from gateway.cli.session import Refused
from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Load
from tests.process.test_exactness import check_books, mixed

pytestmark = pytest.mark.proof

SECONDS = 60.0


async def strike(gateway: Gateway, chance: random.Random) -> str:
    """One blow."""
    match chance.choice(("kill worker", "end worker", "kill control", "kill engine", "reload", "hang up", "break")):
        case "kill worker" as blow:
            hit(chance.choice(gateway.workers() or [0]), signal.SIGKILL)
        case "end worker" as blow:
            hit(chance.choice(gateway.workers() or [0]), signal.SIGTERM)
        case "kill control" as blow:
            hit(gateway.status()["control"]["pid"] or 0, signal.SIGKILL)
        case "kill engine" as blow:
            hit(gateway.status()["engines"]["echo"]["pid"] or 0, signal.SIGKILL)
        case "reload" as blow:
            size = 1_000_000 + chance.randrange(1000)
            await asyncio.to_thread(gateway.reload, config(workers=2, limits={"body": size}))
        case "hang up" as blow:
            for _ in range(3):
                gateway.process.send_signal(signal.SIGHUP)
        case blow:
            with pytest.raises(Refused):
                await asyncio.to_thread(gateway.reload, "routes: [")
            gateway.write(config(workers=2))
    return blow


def hit(pid: int, number: signal.Signals) -> None:
    if pid:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


@pytest.mark.parametrize("seed", range(3))
async def test_the_books_are_exact_after_a_storm(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    with running_gateway(config(), workers=2, folder=tmp_path) as gateway:
        load = Load(gateway.address, gateway.key("monthly"), mixed, pause=0.005)
        load.start(8)
        load.start(4, fresh=True)
        end = asyncio.get_running_loop().time() + SECONDS
        blows = []
        while asyncio.get_running_loop().time() < end:
            blows.append(await strike(gateway, chance))
            gateway.note_processes()
            await asyncio.sleep(chance.uniform(0.05, 1.0))
        await load.stop(40.0)
        assert len(blows) > 30
        await asyncio.to_thread(eventually, lambda: len(gateway.status()["generations"]) == 1, 20.0)
        await asyncio.to_thread(eventually, lambda: len(gateway.workers()) == 2, 20.0)
        assert set(load.statuses) <= {200, 502, 503}
        await check_books(gateway, load)

"""A worker with more to do than it can: low classes are refused, and the others are served."""

import asyncio
import time
from pathlib import Path

from tests.extension import write_plugin
from tests.harness import config, eventually, running_gateway
from tests.load import Load, chat

SPINS = """
import time
from gateway.plugin import BasePlugin, BaseSettings

class Settings(BaseSettings, frozen=True):
    pass

class Plugin(BasePlugin[Settings]):
    def access(self, exchange):
        ends = time.perf_counter() + 0.004
        while time.perf_counter() < ends:
            pass
"""


async def test_low_classes_are_refused_while_a_loop_is_late(tmp_path: Path) -> None:
    """Four milliseconds of the loop a request, and 150 clients: it is half a second late."""
    environment = write_plugin(tmp_path / "plugins", "spinner", SPINS)
    document = config(
        limits={"lag": "50ms"},
        tiers={"bulk": {"priority": "low"}, "vip": {"priority": "critical"}},
        plugins=[{"key_auth": {}}, {"spinner": {}}, {"quota": {}}],
    )
    with running_gateway(document, workers=1, environment=environment) as gateway:
        bulk = Load(gateway.address, gateway.key("bulk"), lambda n: chat(delay=0.3), pause=0.05)
        vip = Load(gateway.address, gateway.key("vip"), pause=0.05)
        bulk.start(150)
        vip.start(3)
        await asyncio.sleep(4)
        await bulk.stop()
        await vip.stop()
        vip.check_flawless()
        refused = [answer for answer in bulk.whole.values() if answer.status == 503]
        odd = [answer.json for answer in bulk.whole.values() if answer.status == 500][:1]
        assert not odd, (odd, gateway.log[-2500:])
        print(f"{len(bulk.whole)} low, {len(refused)} of them refused; {len(vip.whole)} critical; {bulk.statuses}")
        assert refused and bulk.statuses[200] and not bulk.cut
        for answer in refused:
            error = answer.json["error"]
            assert (error["number"], error["details"]["class"]) == (1904, "low")
            assert int(answer.headers["retry-after"]) >= 1
        series = gateway.metrics()
        assert series['tollkeeper_shed_total{class="low"}'] == len(refused)
        ended = time.monotonic()
        await asyncio.to_thread(eventually, lambda: gateway.metrics()["tollkeeper_loop_lag_seconds"] < 0.05)
        assert time.monotonic() - ended < 5

"""An engine that hangs while it answers its probes, and one that waits for somebody, in their real time."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.extension import write_plugin
from tests.harness import Gateway, config, running_gateway
from tests.load import Client
from tests.process.test_supervision import FAKE

pytestmark = pytest.mark.proof

COMPUTES = f"""
import sys
from gateway.backend import BaseBackend, BaseSettings, Launch

class Settings(BaseSettings, frozen=True):
    hang: str

class Backend(BaseBackend[Settings]):
    slots = 4

    def launch(self, port):
        argv = (sys.executable, "-I", "-S", {str(FAKE)!r}, f"--port={{port}}", f"--hang={{self.settings.hang}}")
        return Launch(argv, sample="{{}}")
"""


def engine(gateway: Gateway, name: str) -> Any:
    return gateway.status()["engines"][name]


async def test_f21_who_is_to_blame_for_silence(tmp_path: Path) -> None:
    """Both hold requests for more than 30 s without using a processor; one of them does a piece of work when asked."""
    hangs = {"dead": "/", "waits": "/dead"}
    document = config(
        backends={name: {"computes": {"hang": hang}} for name, hang in hangs.items()},
        models={},
        routes=[{"path": f"/{name}/*", "to": name, "strip": f"/{name}", "first_byte": "5m"} for name in hangs],
    )
    environment = write_plugin(tmp_path / "theirs", "computes", COMPUTES, "backends")
    with running_gateway(document, workers=2, environment=environment) as gateway:
        key, began = gateway.key("open"), time.monotonic()
        dead = [asyncio.create_task(Client(gateway.address, key, fresh=True).ask({}, "/dead/x")) for _ in range(3)]
        patient = Client(gateway.address, key, fresh=True)
        waits = asyncio.create_task(patient.ask({}, "/waits/dead"))
        for asked in dead:
            answer = await asked
            assert (answer.status, answer.json["error"]["number"]) == (502, 1711)
        assert 30 <= time.monotonic() - began < 120
        assert engine(gateway, "dead")["restarts"] == {"stuck": 1}
        await asyncio.sleep(max(0.0, 50 - (time.monotonic() - began)))
        assert not waits.done()
        assert engine(gateway, "waits")["restarts"] == {}
        waits.cancel()
        patient.close()
        await asyncio.sleep(0.1)  # the loop closes it

"""A plugin that blocks its worker's loop: it is named, and the other workers serve on."""

import asyncio
import re
from pathlib import Path

from tests.extension import write_plugin
from tests.harness import config, eventually, running_gateway
from tests.load import Client, chat

BLOCKS = """
import time
from pathlib import Path
from gateway.plugin import BasePlugin, BaseSettings

class Settings(BaseSettings, frozen=True):
    pass

class Plugin(BasePlugin[Settings]):
    def access(self, exchange):
        if exchange.header("x-request-id") == "block":
            time.sleep(2)
"""


async def test_a_blocked_loop_is_seen_while_it_stands_and_the_plugin_is_named(tmp_path: Path) -> None:
    environment = write_plugin(tmp_path / "plugins", "spinner", BLOCKS)
    chain = [{"key_auth": {}}, {"spinner": {}}]
    with running_gateway(config(plugins=chain), workers=2, environment=environment) as gateway:
        address, key = gateway.address, gateway.key("open")
        victim = Client(address, key)
        blocked = asyncio.create_task(victim.ask(chat(), request_id="block"))
        await asyncio.sleep(0.05)
        seen = asyncio.create_task(
            asyncio.to_thread(eventually, lambda: gateway.metrics()["tollkeeper_loop_stalls_total"] == 1, 1.8)
        )
        while not seen.done():
            client = Client(address, key, fresh=True)
            answer = await client.ask(chat())
            assert answer.status == 200
            assert answer.received - answer.sent < 1.5
            await asyncio.sleep(0.02)
        await seen
        assert not blocked.done()
        assert (await blocked).status == 200
        victim.close()
        named = r"has stood still for [01]\.\d s at access \(\S+their_spinner\.py:12\) < run_access"
        assert re.search(named, gateway.log)
        assert gateway.metrics()["tollkeeper_loop_stalls_total"] == 1

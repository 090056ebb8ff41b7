"""A configuration that cannot be served changes nothing, and the reason is said; one that can be is served whole."""

import asyncio
import copy
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.session import Refused
from gateway.settings.prepare import prepare
from gateway.settings.problem import ConfigError
from gateway.settings.schema import Config
from tests.extension import write_plugin
from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.load import Client, Cut, Load, chat

ODD: list[Any] = [None, -1, 0, "", "x" * 300, "${NOWHERE}", [], {}, ["x"], {"x": 1}, "10/s", 1e300, True, "🦆"]
BREAKS_IN_WORKER = """
from gateway.plugin import BasePlugin, BaseSettings

class Settings(BaseSettings, frozen=True):
    pass

class Plugin(BasePlugin[Settings]):
    async def start(self, services):
        raise OSError("its disk is on fire")
"""


def mutations(count: int, seed: int) -> Iterator[str]:
    """So many broken configurations: something misspelt, odd, missing or torn, each of them refused by a check."""
    chance = random.Random(seed)
    while count:
        document = copy.deepcopy(config(listen={"proxy": "127.0.0.1:0"}))
        mutate(document, chance)
        text = yaml.safe_dump(document, sort_keys=False)
        if chance.random() < 0.2:
            text = text[: chance.randrange(len(text))] + chance.choice(["[", "\t", "'", ": :", "\x00"])
        if is_refused(text):
            count -= 1
            yield text


def mutate(node: Any, chance: random.Random) -> None:
    """Change one thing somewhere below `node`."""
    while True:
        key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not (isinstance(node[key], dict | list) and node[key]) or chance.random() < 0.3:
            break
        node = node[key]
    match chance.randrange(3):
        case 0:
            node[key] = chance.choice(ODD)
        case 1 if isinstance(node, dict):
            node[f"{key}z"] = node.pop(key)
        case _:
            del node[key]


class Approved(Exception):
    """Raised before anything is written."""


def approve(config: Config) -> None:
    raise Approved


def is_refused(text: str) -> bool:
    path = Path(f"/tmp/tollkeeper-mutation-{id(text)}.yaml")
    path.write_text(text)
    try:
        prepare(str(path), approve)
    except ConfigError:
        return True
    except Approved:
        return False
    finally:
        path.unlink()
    raise AssertionError("a file is refused or approved")


async def test_a_broken_configuration_changes_nothing() -> None:
    with running_gateway(config(), workers=2) as gateway:
        before = standing(gateway)
        load = Load(gateway.address, gateway.key("open"), lambda n: chat())
        load.start(4)
        load.start(4, fresh=True)
        for text in mutations(50, seed=1):
            await check_refused(gateway, text)
            assert standing(gateway) == before
        await load.stop()
        load.check_flawless()
        assert gateway.log.count("reload refused") == 50
        gateway.reload(config())
        assert gateway.metrics()["tollkeeper_config_reload_success"] == 1
        assert gateway.status()["reload_error"] == ""


async def check_refused(gateway: Gateway, document: str | Document) -> str:
    """The reason why `document` is refused, after a look at all places where it is to be told."""
    with pytest.raises(Refused) as refused:
        await asyncio.to_thread(gateway.reload, document)
    reason = str(refused.value)
    assert reason
    assert gateway.status()["reload_error"] == reason
    metrics = await asyncio.to_thread(gateway.metrics)
    assert metrics["tollkeeper_config_reload_success"] == 0
    assert "traceback" not in gateway.log
    return reason


def standing(gateway: Gateway) -> tuple[Any, ...]:
    """All that a refused reload must leave as it is."""
    status = gateway.status()
    generations = [(g["number"], sorted(w["pid"] for w in g["workers"])) for g in status["generations"]]
    return generations, status["addresses"], status["engines"]["echo"]["pid"], status["control"]["pid"]


async def test_what_only_the_start_shows_changes_nothing_either(tmp_path: Path) -> None:
    """An address that is taken, a plugin that cannot start in a worker, another state directory."""
    environment = write_plugin(tmp_path / "plugins", "ablaze", BREAKS_IN_WORKER)
    with running_gateway(config(), workers=2, environment=environment) as gateway, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        load = Load(gateway.address, gateway.key("open"), lambda n: chat())
        load.start(4)
        before = standing(gateway)
        host, port = gateway.address
        occupied = f"127.0.0.1:{taken.getsockname()[1]}"
        proxies = [f"{host}:{port}", "127.0.0.1:0", occupied]
        assert occupied in await check_refused(gateway, config(listen={"proxy": proxies}))
        ablaze = config(plugins=[{"ablaze": {}}, {"key_auth": {}}, {"quota": {}}], workers=2)
        assert "on fire" in await check_refused(gateway, ablaze)
        assert "restart" in await check_refused(gateway, config(state={"directory": str(tmp_path / "elsewhere")}))
        assert not (tmp_path / "elsewhere").exists(), "nothing is written for a file that is refused"
        await asyncio.to_thread(eventually, lambda: standing(gateway) == before, 3.0)
        await load.stop()
        load.check_flawless()


async def test_addresses_come_and_go_with_the_configuration() -> None:
    with running_gateway(config()) as gateway:
        (host, port), key = gateway.address, gateway.key("open")
        document = config(listen={"proxy": [f"{host}:{port}", "127.0.0.1:0"]})
        await asyncio.to_thread(gateway.reload, document)
        _, second = gateway.status()["addresses"]
        address = ("127.0.0.1", int(second.rpartition(":")[2]))
        for place in (gateway.address, address):
            client = Client(place, key)
            assert (await client.ask(chat())).status == 200
            client.close()
        await asyncio.to_thread(gateway.reload, config())

        async def is_closed() -> bool:
            client = Client(address, key, fresh=True)
            try:
                await client.ask(chat())
            except Cut:
                return True
            return False

        async with asyncio.timeout(5):
            while not await is_closed():
                await asyncio.sleep(0.05)

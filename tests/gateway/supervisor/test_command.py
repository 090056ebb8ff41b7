import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import gateway
from gateway.link import Command, Done, Failed, Hello, Link, Ready
from gateway.supervisor.command import CommandSocket


class Door:
    """A command socket and what was asked through it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[Command] = []
        self.socket = CommandSocket(str(path), self._obey)

    async def _obey(self, command: Command, actor: str) -> Done | Failed:
        self.asked.append(command)
        assert actor.startswith("operator")
        await asyncio.sleep(0)
        return Done({"name": command.name}) if command.name != "bad" else Failed("no such command")

    async def connect(self) -> Link:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: Link(lambda _: None), str(self.path))
        return link


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    with tempfile.TemporaryDirectory() as folder:
        made = Door(Path(folder) / "tollkeeper.sock")
        await made.socket.start()
        yield made
        made.socket.stop()
        await asyncio.sleep(0.01)


async def test_commands_are_obeyed(door: Door) -> None:
    link = await door.connect()
    assert await link.call(Hello("command", "", gateway.__version__, 1)) == Done()
    assert await link.call(Command("status", {"a": 1})) == Done({"name": "status"})
    assert await link.call(Command("bad")) == Failed("no such command")
    assert door.asked == [Command("status", {"a": 1}), Command("bad")]
    link.close()


async def test_a_command_of_another_version_is_told(door: Door) -> None:
    link = await door.connect()
    answer = await link.call(Hello("command", "", "0.0.0", 1))
    assert isinstance(answer, Failed) and "restart needed" in answer.reason
    link.close()


async def test_other_words_do_nothing(door: Door) -> None:
    link = await door.connect()
    assert await link.call(Ready()) == Done()
    assert door.asked == []
    link.close()


async def test_only_the_owner_may_open_it(door: Door) -> None:
    assert stat.S_IMODE(os.stat(door.path).st_mode) == 0o600
    mask = os.umask(0o022)
    os.umask(mask)
    assert mask != 0o177, "the mask is put back"


async def test_a_socket_left_behind_is_replaced_and_taken_away_at_the_end(door: Door) -> None:
    successor = Door(door.path)
    await successor.socket.start()
    link = await successor.connect()
    assert await link.call(Command("status")) == Done({"name": "status"})
    assert (len(successor.asked), len(door.asked)) == (1, 0)
    link.close()
    successor.socket.stop()
    assert not door.path.exists()

"""Real processes that speak the link: what becomes of them, and what is told of it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.link import Command, Done, Ready
from gateway.supervisor.child import Child, ChildFailed, Family, Spec, describe_exit

SCRIPT = """
import argparse, asyncio, os, signal, socket, sys
from gateway.link import Command, Link, Ready

parser = argparse.ArgumentParser()
for name in ("--link", "--alive", "--board"):
    parser.add_argument(name, type=int)
parser.add_argument("wish")
given = parser.parse_args()

async def main():
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    sock = socket.socket(fileno=given.link)
    _, link = await loop.create_connection(lambda: Link(lambda m: ended.set(), ended.set), sock=sock)
    if given.wish == "exit":
        sys.exit(7)
    if given.wish == "report":
        fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
        kept = [fd for fd in (given.alive, given.board) if fd in fds]
        await link.call(Command("report", {
            "kept": kept, "group": os.getpgid(0) == os.getpid(), "path": "" in sys.path or os.getcwd() in sys.path,
            "input": os.read(0, 1).decode(),
        }))
    if given.wish == "last words":
        link.tell(Command("farewell"))
        link._flush()
        os._exit(0)
    if given.wish != "mute":
        link.tell(Ready())
    await ended.wait()
    sys.exit(0)

asyncio.run(main())
"""


class Parent:
    """The supervisor's side: keeps what children say and how they end."""

    def __init__(self, alive: int) -> None:
        self.family = Family(alive, contextlib.nullcontext)
        self.alive = alive
        self.said: list[Any] = []
        self.ended: list[tuple[str, int | None]] = []
        self.children: list[Child] = []

    async def start(self, wish: str, board: int | None = None) -> Child:
        arguments = ("--board", str(board), wish) if board is not None else (wish,)
        spec = Spec("throwaway_child", wish, arguments, (board,) if board is not None else ())
        self.children.append(await self.family.start(spec, self._hear, self._bury))
        return self.children[-1]

    def _hear(self, child: Child, message: Any) -> Any:
        self.said.append(message)
        if isinstance(message, Ready):
            child.be_ready()
        return Done()

    def _bury(self, child: Child) -> None:
        self.ended.append((child.name, child.code))


@pytest.fixture
async def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parent]:
    (tmp_path / "throwaway_child.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    alive, life = os.pipe2(os.O_CLOEXEC)
    made = Parent(alive)
    yield made
    for child in made.children:
        child.kill()
        await asyncio.wait_for(child.gone.wait(), 5)
    os.close(alive)
    os.close(life)
    assert made.family.pids == set()


async def test_a_child_becomes_ready_and_is_reaped(parent: Parent) -> None:
    child = await parent.start("live")
    assert parent.family.pids == {child.pid}
    await asyncio.wait_for(child.wait_ready(), 10)
    assert child.was_ready and child.code is None
    child.kill()
    await asyncio.wait_for(child.gone.wait(), 5)
    assert parent.ended == [("live", -signal.SIGKILL)]
    child.kill()  # nobody is there: nothing happens
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


async def test_it_gets_what_it_is_given_and_nothing_else(parent: Parent) -> None:
    board, secret = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    try:
        child = await parent.start("report", board)
        await asyncio.wait_for(child.wait_ready(), 10)
    finally:
        os.close(board)
        os.close(secret)
    assert parent.said[0] == Command(
        "report", {"kept": [parent.alive, board], "group": True, "path": False, "input": ""}
    )


async def test_one_that_ends_before_it_is_ready_says_how(parent: Parent) -> None:
    child = await parent.start("exit")
    with pytest.raises(ChildFailed, match=r"^exit ended with exit code 7$"):
        await asyncio.wait_for(child.wait_ready(), 10)
    assert not child.was_ready
    await asyncio.wait_for(child.gone.wait(), 5)
    assert parent.ended == [("exit", 7)]


async def test_one_that_never_becomes_ready_is_killed(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.supervisor.child._START", 0.5)
    child = await parent.start("mute")
    with pytest.raises(ChildFailed, match=r"^mute was not ready after 0.5 s$"):
        await child.wait_ready()
    await asyncio.wait_for(child.gone.wait(), 5)
    assert parent.ended == [("mute", -signal.SIGKILL)]


async def test_its_last_words_are_heard_before_it_is_buried(parent: Parent) -> None:
    child = await parent.start("last words")
    await asyncio.wait_for(child.gone.wait(), 10)
    assert parent.said == [Command("farewell")]


async def test_a_failure_that_nobody_waits_for_is_no_noise(parent: Parent) -> None:
    child = await parent.start("live")
    child.fail("it said so")
    child.fail("and again")
    with pytest.raises(ChildFailed, match="it said so"):
        await child.wait_ready()


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal SIGKILL"), (-40, "signal 40")]
)
def test_how_a_process_ended(code: int, text: str) -> None:
    assert describe_exit(code) == text

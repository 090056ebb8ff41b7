"""The control process over its real link, with the test in the supervisor's place."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from gateway.journal import Journal
from gateway.link import (
    Changed,
    Command,
    Configure,
    Done,
    Drain,
    Failed,
    Found,
    Hello,
    Link,
    LookUp,
    Ready,
    Settled,
    StoreState,
    WriterGone,
)
from gateway.metrics import make_board_file
from gateway.settings.key import digest
from gateway.settings.load import plain
from gateway.settings.schema import Config, Consumer, Log, Tier
from tests.gateway.control.records import closed, opened


class Supervisor:
    """The other end: configures the child, keeps what it says, settles unless told not to."""

    def __init__(self, directory: Path) -> None:
        self.heard: list[Any] = []
        self.settles = True
        self._directory = directory

    def configure(self, config: Config) -> Configure:
        return Configure(1, msgspec.msgpack.encode(plain(config)), "0a1b2c3d", str(self._directory))

    def handle(self, message: Any) -> Any:
        self.heard.append(message)
        if isinstance(message, Hello):
            return self.configure(Config(tiers={"free": Tier()}))
        if isinstance(message, Settled):
            return Done(True) if self.settles else Failed("not now")
        return None

    def said(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]

    @asynccontextmanager
    async def child(self) -> AsyncIterator[tuple[Link, subprocess.Popen[bytes], int]]:
        """A running control process, its link, and the write end of the pipe that says that we live."""
        ours, theirs = socket.socketpair()
        alive, write = os.pipe()
        board = make_board_file()
        command = [
            sys.executable, "-P", "-m", "gateway.control", "--link", str(theirs.fileno()), "--alive", str(alive),
            "--metrics", str(board),
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[theirs.fileno(), alive, board], cwd="/")
        theirs.close()
        os.close(board)
        os.close(alive)
        _, link = await asyncio.get_running_loop().create_connection(lambda: Link(self.handle), sock=ours)
        try:
            await until(lambda: bool(self.said(Ready) or self.said(Failed)))
            yield link, process, write
        finally:
            process.kill()
            process.communicate()
            os.close(write)
            link.close()
            await asyncio.sleep(0)
            self.heard.clear()


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


async def answer(call: Awaitable[Any], kind: type[Any]) -> Any:
    result = await asyncio.wait_for(call, 60)
    assert isinstance(result, kind), result
    return result


async def test_a_key_is_made_found_and_revoked(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    async with supervisor.child() as (link, _, _):
        made = await answer(link.call(Command("key.new", {"consumer": "acme", "tier": "free"})), Done)
        hashed = digest(made.data["key"])
        found = await answer(link.call(LookUp(hashed)), Found)
        assert found.credential.consumer == "acme"
        await answer(link.call(Command("key.revoke", {"id": made.data["id"]})), Done)
        assert (await answer(link.call(LookUp(hashed)), Found)).credential is None
        assert supervisor.said(Changed) == [Changed((hashed,)), Changed((hashed,))]
        refused = await answer(link.call(Command("key.new", {"consumer": "other", "tier": "gold"})), Failed)
        assert "gold" in refused.reason


async def test_a_consumer_that_comes_with_a_reload_may_have_keys(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    async with supervisor.child() as (link, _, _):
        new_key = Command("key.new", {"consumer": "filed"})
        await answer(link.call(new_key), Failed)
        link.tell(supervisor.configure(Config(tiers={"pro": Tier()}, consumers={"filed": Consumer(tier="pro")})))
        made = await answer(link.call(new_key), Done)
        assert (await answer(link.call(LookUp(digest(made.data["key"]))), Found)).credential.tier == "pro"


async def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("not a database at all, but long enough to be told from one" * 20)
    supervisor = Supervisor(tmp_path)
    async with supervisor.child() as (_, process, _):
        assert "store.sqlite" in supervisor.said(Failed)[0].reason
        await until(lambda: process.poll() is not None)
        assert process.returncode == 3


async def test_a_document_is_fetched_or_not(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    async with supervisor.child() as (link, _, _):
        wish = Command("fetch", {"url": "http://127.0.0.1:1/keys", "allow_private": True})
        failed = await answer(link.call(wish), Failed)
        assert "cannot be fetched" in failed.reason


async def test_a_dead_writer_is_settled_and_its_journal_goes(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    journal = Journal(tmp_path / "journal", "0a1b2c3d-w1")
    async with supervisor.child() as (link, _, _):
        journal.write(closed(opened("1")))
        await until(lambda: bool(supervisor.said(StoreState)))
        assert supervisor.said(Settled) == []
        journal.close()
        await answer(link.call(WriterGone("0a1b2c3d-w1")), Done)
        await until(lambda: bool(supervisor.said(Settled)))
        assert supervisor.said(Settled) == [Settled("0a1b2c3d-w1", (("month:acme", "2026-11", 1000),))]
        await until(lambda: not any((tmp_path / "journal").iterdir()))


async def test_settling_survives_a_kill_at_its_worst_moment(tmp_path: Path) -> None:
    """Sealed but not settled; then settled but asked for again, as after a crash of the supervisor."""
    supervisor = Supervisor(tmp_path)
    journal = Journal(tmp_path / "journal", "0a1b2c3d-w1")
    journal.write(closed(opened("1")))
    journal.close()
    settled = Settled("0a1b2c3d-w1", (("month:acme", "2026-11", 1000),))
    supervisor.settles = False
    async with supervisor.child():
        await until(lambda: settled in supervisor.heard)
        assert any((tmp_path / "journal").iterdir())
    supervisor.settles = True
    async with supervisor.child():
        await until(lambda: settled in supervisor.heard)
        await until(lambda: not any((tmp_path / "journal").iterdir()))
    async with supervisor.child() as (link, _, _):
        await answer(link.call(WriterGone("0a1b2c3d-w1")), Done)
        await until(lambda: settled in supervisor.heard)
        await answer(link.call(WriterGone("a stranger")), Done)


async def test_drain_stores_everything_before_it_ends(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    journal = Journal(tmp_path / "journal", "0a1b2c3d-w1")
    async with supervisor.child() as (link, process, _):
        for number in range(3000):
            journal.write(closed(opened(str(number))))
        journal.close()
        link.tell(Drain(10.0))
        await until(lambda: process.poll() is not None)
        assert process.returncode == 0
        assert len(supervisor.said(Settled)) == 1
    assert not any((tmp_path / "journal").iterdir())


async def test_it_ends_with_its_supervisor_and_not_by_signals(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    async with supervisor.child() as (link, process, _):
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        await answer(link.call(LookUp(b"x")), Found)
        link.close()
        await until(lambda: process.poll() is not None)
        assert process.returncode == 0


async def test_it_ends_when_the_pipe_says_so(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    async with supervisor.child() as (_, process, write):
        os.dup2(os.open(os.devnull, os.O_RDONLY), write)  # closes the pipe's only write end
        await until(lambda: process.poll() is not None)
        assert process.returncode == 0


async def test_requests_are_printed_where_wanted(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    journal = Journal(tmp_path / "journal", "0a1b2c3d-w1")
    async with supervisor.child() as (link, process, _):
        assert process.stdout is not None
        link.tell(supervisor.configure(Config(log=Log(requests=True))))
        await answer(link.call(LookUp(b"x")), Found)
        journal.write(closed(opened("1f")))
        line = await asyncio.to_thread(process.stdout.readline)
        assert line.startswith(b"time=2026-11-21T12:00:00.005Z request=1f ")
    journal.close()


async def test_the_lag_of_a_store_that_does_not_take_is_told(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    journal = Journal(tmp_path / "journal", "0a1b2c3d-w1")
    async with supervisor.child():
        await until(lambda: any(state.up for state in supervisor.said(StoreState)))
        lock = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "store.sqlite")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert lock.stdout is not None
        lock.stdout.readline()
        journal.write(closed(opened("1")))
        await until(lambda: any(not state.up and state.lag > 1 for state in supervisor.said(StoreState)))
        lock.communicate()
        supervisor.heard.clear()
        await until(lambda: any(state.up and state.lag == 0 for state in supervisor.said(StoreState)))
    journal.close()


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()
"""

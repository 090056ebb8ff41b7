"""What workers and control say, and who answers: the ledger is real, both are at the other end of real links."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.engines.registry import Engines
from gateway.exchange import Credential
from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Ask, Denial, Grant, Need, Quota, Rate, Refund, Renew, Return, Slots
from gateway.ledger.share import Share
from gateway.link import (
    Acquire,
    AuthorityState,
    Changed,
    Command,
    Done,
    Failed,
    Fleet,
    Forget,
    Found,
    Gone,
    Keep,
    Link,
    LookUp,
    Observation,
    Once,
    Peek,
    Recall,
    Recount,
    Release,
    Settled,
    StoreState,
    WriterGone,
)
from gateway.supervisor.child import Child
from gateway.supervisor.desk import Desk
from gateway.supervisor.endpoints import Endpoints

MONTH = Quota("month:acme", 3)
ASK = Ask("c", (Need(MONTH, 1000),))


class Peer:
    """A child without a process: a real link, whose far end the test plays."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed: list[str] = []
        self.heard: list[Any] = []
        self.answer: Any = None

    async def connect(self, office: "Office") -> "Peer":
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        answer = office.desk.answer_control if self.name == "control" else office.desk.answer_worker
        _, self.link = await loop.create_connection(lambda: Link(lambda m: answer(cast("Child", self), m)), sock=left)
        _, self.far = await loop.create_connection(lambda: Link(self._hear), sock=right)
        return self

    def _hear(self, message: Any) -> Any:
        self.heard.append(message)
        return self.answer

    def fail(self, reason: str) -> None:
        self.failed.append(reason)

    async def call(self, message: Any) -> Any:
        return await asyncio.wait_for(self.far.call(message), 8)

    def close(self) -> None:
        self.link.close()
        self.far.close()


class Office:
    """The desk, with everything it stands before."""

    def __init__(self, folder: Path, alive: int) -> None:
        self.folder = folder
        self.broadcast: list[Any] = []
        self.ledger = EmbeddedLedger.open(folder, Clock())
        self.engines = Engines(str(folder), alive, lambda: None)
        self.desk = Desk(self.ledger, self.engines, self.broadcast.append)
        self.peers: list[Peer] = []

    async def peer(self, name: str) -> Peer:
        self.peers.append(await Peer(name).connect(self))
        return self.peers[-1]

    async def control(self, answer: Any = None) -> Peer:
        control = await self.peer("control")
        control.answer = answer
        self.desk.control = cast("Child", control)
        return control


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    alive, life = os.pipe2(os.O_CLOEXEC)
    made = Office(tmp_path, alive)
    yield made
    for peer in made.peers:
        peer.close()
    await made.engines.stop()
    made.ledger.close()
    os.close(alive)
    os.close(life)
    await asyncio.sleep(0)


async def test_charges_belong_to_the_worker_that_asked(office: Office) -> None:
    first, second = await office.peer("w1"), await office.peer("w2")
    assert isinstance(await first.call(ASK), Grant)
    answer = await second.call(ASK)
    assert isinstance(answer, Grant) and answer.standings[0].remaining == 1000
    first.far.tell(Refund("c", ASK.needs, answer.period))
    assert (await second.call(Peek(ASK))).standings[0].remaining == 1000
    assert isinstance(await first.call(ASK), Grant) and isinstance(await second.call(ASK), Grant)
    assert isinstance(await first.call(ASK), Denial)
    second.far.tell(Refund("c", ASK.needs, answer.period))
    office.desk.bury("w1")
    control = await office.control()
    assert await control.call(Settled("w1", (("month:acme", answer.period, 0),))) == Done()
    assert (await second.call(Peek(ASK))).standings[0].used == 2000, "w1's charge is gone, w2's and the peek are not"


async def test_a_peek_changes_nothing(office: Office) -> None:
    worker = await office.peer("w1")
    log = office.folder / "ledger.log"
    before = log.read_bytes() if log.exists() else b""
    for _ in range(5):
        answer = await worker.call(Peek(ASK))
        assert isinstance(answer, Grant) and answer.standings[0].remaining == 2000
    assert (log.read_bytes() if log.exists() else b"") == before


async def test_what_one_worker_keeps_all_recall(office: Office) -> None:
    first, second = await office.peer("w1"), await office.peer("w2")
    assert await second.call(Recall(b"k")) == Done(None)
    first.far.tell(Keep(b"k", b"v", 60.0))
    assert await first.call(Recall(b"k")) == Done(b"v") == await second.call(Recall(b"k"))
    assert await first.call(Once(b"k", 60.0)) == Done(True)
    assert await second.call(Once(b"k", 60.0)) == Done(False)
    second.far.tell(Forget(b"k"))
    assert await second.call(Recall(b"k")) == Done(None)
    assert await second.call(Once(b"k", 60.0)) == Done(True)


async def test_leases_come_back(office: Office) -> None:
    worker = await office.peer("w1")
    rate = Rate("r", 10_000, 60_000_000, 10_000)
    grant = await worker.call(Ask("c", (Need(rate, 1000),), 50_000))
    assert grant.lease == 50_000
    worker.far.tell(Return("c", (rate,), 50_000, grant.period))
    assert (await worker.call(Peek(Ask("d", (Need(rate, 1000),))))).standings[0].used <= 2000


async def test_slots_live_as_long_as_their_worker(office: Office) -> None:
    pool = Slots("pool", 1, 400_000)
    one, other = await office.peer("w1"), await office.peer("w2")
    assert isinstance(await one.call(Ask("a", (Need(pool, 1000),))), Grant)
    deadline = asyncio.get_running_loop().time() + 0.6
    while asyncio.get_running_loop().time() < deadline:
        one.far.tell(Renew("a", (pool,)))
        assert isinstance(await other.call(Ask("b", (Need(pool, 1000),))), Denial)
        await asyncio.sleep(0.05)
    office.desk.bury("w1")
    assert isinstance(await other.call(Ask("b", (Need(pool, 1000),))), Grant)


async def test_keys_are_asked_of_control(office: Office) -> None:
    credential = Credential("k", "acme", "free")
    control, worker = await office.control(Found(credential)), await office.peer("w1")
    assert await worker.call(LookUp(b"x" * 32)) == Found(credential)
    assert control.heard == [LookUp(b"x" * 32)]


async def test_a_question_waits_while_control_is_started_again(office: Office) -> None:
    worker = await office.peer("w1")
    asked = asyncio.get_running_loop().create_task(worker.call(LookUp(b"x" * 32)))
    await asyncio.sleep(0.05)
    assert not asked.done()
    await office.control(Found(None))
    assert await asked == Found(None)


async def test_a_question_outlives_the_control_that_was_asked(office: Office) -> None:
    silent = asyncio.get_running_loop().create_future()
    first, worker = await office.control(silent), await office.peer("w1")
    asked = asyncio.get_running_loop().create_task(worker.call(LookUp(b"x" * 32)))
    while not first.heard:
        await asyncio.sleep(0.005)
    first.close()
    await asyncio.sleep(0.02)
    assert office.desk.control is None
    second = await office.control(Found(None))
    assert await asked == Found(None)
    assert second.heard == [LookUp(b"x" * 32)]
    silent.cancel()


async def test_a_control_that_stays_away_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.supervisor.desk._PATIENCE", 0.1)
    worker = await office.peer("w1")
    answer = await worker.call(LookUp(b"x" * 32))
    assert isinstance(answer, Failed) and answer.number == 1602


async def test_workers_may_only_have_documents_fetched(office: Office) -> None:
    control, worker = await office.control(Done(b"{}")), await office.peer("w1")
    assert await worker.call(Command("fetch", {"url": "https://x/"})) == Done(b"{}")
    await worker.call(Command("key.new", {"consumer": "acme"}))
    assert [message.name for message in control.heard] == ["fetch"]


async def test_what_a_backend_would_say_is_foreseen(office: Office) -> None:
    worker = await office.peer("w1")
    answer = await worker.call(Command("foresee", {"backend": "nobody"}))
    assert isinstance(answer, Failed) and answer.number == 1707


async def test_what_changed_is_told_to_every_worker(office: Office) -> None:
    control = await office.control()
    await control.call(Changed((b"x" * 32,)))
    assert office.broadcast == [Changed((b"x" * 32,))]


async def test_the_stores_state_falls_with_control(office: Office) -> None:
    control = await office.control()
    await control.call(StoreState(True, 0.5, 2))
    assert office.desk.store == StoreState(True, 0.5, 2)
    office.desk.control = None
    assert office.desk.store == StoreState(False, 0.5, 2)


async def test_a_control_that_says_nothing_stores_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    control = await office.control()
    await control.call(StoreState(True, 0.5, 2))
    monkeypatch.setattr("gateway.supervisor.desk._SILENT", 0.0)
    first, second = office.desk.store, office.desk.store
    assert (first.up, first.lost) == (False, 2)
    assert 0.5 < first.lag < second.lag


async def test_the_dead_are_unsettled_until_their_journal_is_stored(office: Office) -> None:
    worker = await office.peer("w1")
    period = (await worker.call(ASK)).period
    office.desk.bury("w1")
    assert office.desk.unsettled == {"w1"}
    control = await office.control()
    office.desk.bury("w2")
    while not control.heard:
        await asyncio.sleep(0.005)
    assert control.heard == [WriterGone("w2")]
    await control.call(Settled("w1", (("month:acme", period, 500),)))
    assert office.desk.unsettled == {"w2"}
    assert office.ledger.peek(ASK).standings[0].used == 1500


async def test_the_dead_of_an_earlier_boot_are_unsettled(office: Office, tmp_path: Path) -> None:
    office.ledger.ask("old-w1", ASK)
    again = Desk(EmbeddedLedger.open(tmp_path, Clock()), office.engines, office.broadcast.append)
    assert again.unsettled == {"old-w1"}


async def test_engines_that_are_not_there(office: Office) -> None:
    worker = await office.peer("w1")
    answer = await worker.call(Acquire("gone", "r1", 1.0, 1.0))
    assert isinstance(answer, Failed) and answer.number == 1707
    worker.far.tell(Release("gone", "r1"))
    assert await worker.call(Gone("gone", "load-1")) == Done("over")


async def test_observations_go_to_the_endpoints_of_the_day(office: Office) -> None:
    worker = await office.peer("w1")
    seen: list[Observation] = []

    class Book(Endpoints):
        def observe(self, seen_by: Observation) -> None:
            seen.append(seen_by)

    observation = Observation("b", "http://x", False, "endpoint", "acme")
    await worker.call(observation)  # before there are any: nothing happens
    office.desk.endpoints = Book({}, lambda _: None, lambda: 0.0)
    await worker.call(observation)
    assert seen == [observation]


@pytest.mark.parametrize("name", ["w1", "control"])
async def test_who_cannot_do_its_work_says_so(office: Office, name: str) -> None:
    peer = await office.peer(name)
    await peer.call(Failed("no disk"))
    assert peer.failed == ["no disk"]


async def test_a_worker_cannot_speak_for_control(office: Office) -> None:
    worker, other = await office.peer("w1"), await office.peer("w2")
    period = (await other.call(ASK)).period
    await worker.call(Settled("w2", (("month:acme", period, 0),)))
    await worker.call(Changed())
    assert office.ledger.peek(ASK).standings[0].used == 2000
    assert office.broadcast == []


async def test_while_redis_is_away_the_desk_grants_a_share_of_the_rates(office: Office) -> None:
    rate = Rate("r", 1_000_000, 1_000_000, 1_000_000)
    office.desk = Desk(Share(Clock()), office.engines, office.broadcast.append)
    worker, control = await office.peer("w1"), await office.control()
    control.far.tell(Fleet(4))
    control.far.tell(Recount())
    assert await worker.call(AuthorityState(False)) == Refund("outage", (), "")
    assert office.broadcast == [Recount()] and office.desk.authority.describe()["replicas"] == 4
    assert isinstance(await worker.call(Ask("a", (Need(rate, 1000),))), Denial), "it starts empty"
    await asyncio.sleep(0.05)
    assert isinstance(await worker.call(Ask("b", (Need(rate, 1000),))), Grant)
    assert await worker.call(AuthorityState(True)) == Refund("outage", (Need(rate, -1000),), "")
    assert office.desk.authority.is_up

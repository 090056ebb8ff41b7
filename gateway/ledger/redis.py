"""The authority of all replicas as a worker sees it: one script call in Redis per ask, within 50 ms, or without it.

Nothing is asked twice. A charge whose answer came too late is refunded when that answer comes; where the line died
first nobody knows, so rates and slots flow back by themselves, and months are told anew (`Months`).
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from gateway.ledger.calendar import Calendar
from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Quota, Refund, Renew, Return
from gateway.ledger.months import Months, costs_of, negate
from gateway.ledger.outage import answer_alone, local_ask, month_of
from gateway.ledger.parts import Part, Places, join, split, take_parts
from gateway.ledger.period import Month
from gateway.ledger.question import Fail, Question
from gateway.ledger.script import LEDGER, correct, limit_key, take
from gateway.redis.client import Client
from gateway.redis.cluster import slot_of
from gateway.redis.connection import Receiver
from gateway.redis.location import Location
from gateway.redis.node import Down, Node
from gateway.tasks import spawn

Answer = Grant | Denial


class Replica(Protocol):
    """What the rest of this replica does for the ledger."""

    def ask(self, ask: Ask) -> "asyncio.Future[Answer]":
        """Decide by this replica's share of the rates."""

    def tell(self, message: Refund | Renew) -> None:
        """Correct what was so decided."""

    def change(self, is_up: bool) -> "asyncio.Future[Refund]":
        """Redis is down, or up again; the answer is what it must be told of the time between."""

    def observe(self, seconds: float) -> None:
        """Redis answered an ask after so long."""

    def degrade(self, policy: str) -> None:
        """An ask is decided without Redis."""


class RedisLedger:
    """`send`, `tell` and `look` are what a `Wallet` wants. `writer` is this run of this worker."""

    def __init__(self, location: Location, writer: str, replica: Replica, clock: str = "") -> None:
        self._writer = writer
        self._replica = replica
        self._clock = clock  # of a test; '': that of Redis
        self._loop = asyncio.get_running_loop()
        self._calendar = Calendar()
        self._is_up = True  # what the replica was told
        self.client = Client(location, self._change)
        self.months = Months(self.client, writer)

    async def start(self) -> None:
        """Connect, for about a second; a Redis that is down is waited for in the background."""
        await self.client.start()
        self._report()

    def close(self) -> None:
        """End it, after what was said."""
        self.months.close()
        self.client.close()

    def send(self, ask: Ask) -> "asyncio.Future[Answer]":
        """Charge all needs, or none; fails with a ConnectionError where the policy says so."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        fail = partial(self._fall_back, ask, future)
        parts = self._split(ask)
        if not self._is_up and not self.client.is_cluster:
            fail(Down("Redis is down"))
        elif len(parts) > 1:
            spawn(self._take_parts(ask, parts, future, fail), "ask of several nodes")
        else:
            self._question("take", ask, future, fail)
        return future

    async def look(self, ask: Ask) -> Answer:
        """What `send` would answer now. Raises ConnectionError."""
        parts = self._split(ask)
        try:
            answers = await asyncio.gather(*[self._one("peek", part) for _, part in parts])
        except Exception as error:
            raise ConnectionError(str(error)) from error
        return join(ask, list(zip([places for places, _ in parts], answers, strict=True)))

    def tell(self, message: Refund | Return | Renew) -> None:
        """Correct an earlier charge."""
        match message:
            case Refund():
                if message.mode:  # the replica's share decided; months are ours in any case
                    self._replica.tell(message)
                    needs = tuple([need for need in message.needs if isinstance(need.limit, Quota)])
                    self._correct("refund", message.charge, needs, message.period)
                else:
                    self._correct("refund", message.charge, message.needs, message.period)
            case Return():
                needs = tuple([Need(limit, message.units) for limit in message.limits])
                self._correct("return", message.charge, needs, message.period)
            case Renew():
                self._say("renew", message.charge, tuple([Need(slots, 0) for slots in message.limits]), "")
                if not self._is_up:
                    self._replica.tell(message)

    # --- what a Question asks of it

    def put(self, mode: str, ask: Ask, month: Month | None, receiver: Receiver) -> None:
        keys, arguments = take(mode, self._writer, ask, month, self._clock)
        self.client.run(LEDGER, keys, arguments, receiver)

    def learn(self, ask: Ask, now_us: int) -> Month | None:
        self.months.forget_before(now_us)
        return self._calendar.learn(ask, now_us)

    def note(self, ask: Ask, grant: Grant) -> None:
        if grant.period:
            needs = [need for at, need in enumerate(ask.needs) if at not in grant.shadowed]
            self.months.charge(costs_of(needs, grant.period, grant.lease))

    def undo(self, charge: str, needs: Sequence[Need], grant: Grant) -> None:
        self._say("refund", charge, tuple(needs), grant.period)
        if grant.lease:
            self._say("return", charge, tuple([Need(need.limit, grant.lease) for need in needs]), grant.period)

    def doubt(self, ask: Ask, period: str) -> None:
        self.months.tab.doubt([name for name, _ in costs_of(ask.needs, period)])

    # --- asking

    def _question(self, mode: str, ask: Ask, future: "asyncio.Future[Answer]", fail: Fail) -> None:
        asked = self._loop.time()

        def done(answer: Answer) -> None:
            self._replica.observe(self._loop.time() - asked)
            if not future.done():
                future.set_result(answer)
            elif mode == "take" and isinstance(answer, Grant):  # nobody waits for it
                self._give_back(ask, [(tuple(range(len(ask.needs))), answer)])

        Question(self, mode, ask, self._calendar.find(ask, _wall_us()), done, fail).put()

    def _one(self, mode: str, ask: Ask) -> "asyncio.Future[Answer]":
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._question(mode, ask, future, lambda error: None if future.done() else future.set_exception(error))
        return future

    def _split(self, ask: Ask) -> list[Part]:
        if not self.client.is_cluster:
            return [(tuple(range(len(ask.needs))), ask)]
        return split(ask, _slot)

    async def _take_parts(self, ask: Ask, parts: list[Part], future: "asyncio.Future[Answer]", fail: Fail) -> None:
        try:
            answer = await take_parts(ask, parts, self._one, self._give_back)
        except Exception as error:
            fail(error)
        else:
            future.set_result(answer)

    def _give_back(self, ask: Ask, taken: Sequence[tuple[Places, Answer]]) -> None:
        for places, grant in taken:
            assert isinstance(grant, Grant)
            needs = tuple([ask.needs[place] for at, place in enumerate(places) if at not in grant.shadowed])
            self._correct("refund", ask.charge, needs, grant.period)

    def _fall_back(self, ask: Ask, future: "asyncio.Future[Answer]", error: Exception) -> None:
        self._replica.degrade(ask.policy)
        if ask.policy == "closed":
            future.set_exception(ConnectionError(str(error)))
            return
        local = local_ask(ask)
        if local is None:
            self._answer_alone(ask, future, None)
        else:
            self._replica.ask(local).add_done_callback(partial(self._take_share, ask, future))

    def _take_share(self, ask: Ask, future: "asyncio.Future[Answer]", share: "asyncio.Future[Answer]") -> None:
        if share.cancelled() or share.exception() is not None:
            future.set_exception(ConnectionError("the supervisor does not answer"))
        else:
            self._answer_alone(ask, future, share.result())

    def _answer_alone(self, ask: Ask, future: "asyncio.Future[Answer]", decided: Answer | None) -> None:
        wall_us = _wall_us()
        month = month_of(ask, self._calendar.find(ask, wall_us), wall_us)
        answer = answer_alone(ask, decided, month, wall_us, self.months.tab)
        if isinstance(answer, Grant) and answer.period:
            owed = tuple([Need(n.limit, -n.cost) for n in ask.needs if isinstance(n.limit, Quota)])
            self._correct("refund", ask.charge, owed, answer.period)
        future.set_result(answer)

    # --- correcting

    def _correct(self, mode: str, charge: str, needs: tuple[Need, ...], period: str) -> None:
        """Note what months get back, and say it, now or when Redis can be told."""
        costs = negate(costs_of(needs, period))
        self.months.charge(costs)
        self.months.tab.doubt([name for name, _ in costs if not self.months.is_reachable(name)])
        self._say(mode, charge, needs, period)

    def _say(self, mode: str, charge: str, needs: tuple[Need, ...], period: str) -> None:
        if not self.client.is_cluster:
            groups = [needs] if needs else []
        else:
            groups = [part.needs for _, part in split(Ask(charge, needs), partial(_slot, period=period))]
        for group in groups:
            keys, arguments = correct(mode, self._writer, charge, group, period, self._clock)
            self.client.run(LEDGER, keys, arguments, partial(self._hear, group, period))

    def _hear(self, needs: tuple[Need, ...], period: str, reply: Any, is_late: bool) -> None:
        if isinstance(reply, Exception) and not isinstance(reply, TimeoutError):
            self.months.tab.doubt([name for name, _ in costs_of(needs, period)])

    # --- up and down

    def _change(self, node: Node, is_up: bool) -> None:
        if is_up:
            self.months.settle_doubts(node)
            self.months.recount()
        self._report()

    def _report(self) -> None:
        """Tell the replica what changed. What its share spent meanwhile is owed to Redis."""
        is_up = self.client.is_up
        if is_up == self._is_up:
            return
        self._is_up = is_up
        told = self._replica.change(is_up)
        if is_up:
            told.add_done_callback(self._pay)

    def _pay(self, told: "asyncio.Future[Refund]") -> None:
        if not told.cancelled() and told.exception() is None and isinstance(told.result(), Refund):
            self._say("refund", "outage", told.result().needs, "")


def _slot(limit: Limit, period: str = "") -> int:
    return slot_of(limit_key(limit, period))


def _wall_us() -> int:
    return time.time_ns() // 1000

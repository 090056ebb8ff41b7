"""The supervisor's side of the links: what workers ask is answered by the ledger, the engines, or control."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

from msgspec.structs import replace

from gateway.engines.registry import Engines
from gateway.ledger.limit import Ask, Refund, Renew, Return
from gateway.link import (
    Acquire,
    AuthorityState,
    Changed,
    Command,
    Done,
    Failed,
    Fleet,
    Forget,
    Gone,
    Keep,
    LinkClosed,
    LookUp,
    Notice,
    Observation,
    Once,
    Peek,
    Recall,
    Recount,
    Release,
    Settled,
    StoreState,
    Trial,
    WriterGone,
)
from gateway.memory import MemoryCache
from gateway.settings.schema import Config
from gateway.supervisor.act import describe_act
from gateway.supervisor.authority import AnyLedger, Authority
from gateway.supervisor.child import Child
from gateway.supervisor.endpoints import Endpoints
from gateway.supervisor.models import Models
from gateway.supervisor.recollection import Recollection
from gateway.tasks import spawn

_NOTICES = 1000  # kept while control is away
_SILENT = 5.0  # seconds without word from control, after which it hangs; it reports once a second
_AGAIN = 1.0  # seconds until control is asked once more to write an act down
_PATIENCE = 5.0  # seconds a question to control waits while control is started again
_OPERATORS_MAY = ("key.", "consumer.", "usage", "trace", "slowest", "audit.list", "audit.verify")
_WORKERS_MAY = frozenset(("fetch", "me.rotate"))  # commands of control that workers may give

_log = logging.getLogger("tollkeeper")

Operate = Callable[[Command], Awaitable[Done | Failed]]


class Desk:
    """Answers messages. `broadcast` tells all workers something; its owner sets `endpoints`, `control`, `operate`."""

    def __init__(self, ledger: AnyLedger, engines: Engines, broadcast: Callable[[Any], None]) -> None:
        self._ledger = ledger
        self.authority = Authority(ledger)
        self._engines = engines
        engines.ask_worker = self._ask_worker
        self._carriers: dict[str, Child] = {}  # workers that have asked for slots
        self._broadcast = broadcast
        self.models = Models(engines)
        self._recollection = Recollection(time.monotonic)
        self.values = MemoryCache(time.monotonic)  # of all workers together
        self._control_there = asyncio.Event()
        self._control: Child | None = None
        self.endpoints: Endpoints | None = None
        self._notices: deque[Notice] = deque(maxlen=_NOTICES)
        self._store, self._told = StoreState(False, 0.0, 0), time.monotonic()
        self.operate: Operate | None = None  # what the operator's commands do
        self.unsettled: set[str] = set(ledger.unsettled())  # dead writers whose journal is not wholly stored

    @property
    def store(self) -> StoreState:
        """What control last said of it. While control says nothing, or is gone, nothing is stored."""
        silent = time.monotonic() - self._told
        return self._store if silent < _SILENT else replace(self._store, up=False, lag=self._store.lag + silent)

    @property
    def control(self) -> Child | None:
        return self._control

    @control.setter
    def control(self, child: Child | None) -> None:
        """Control has become ready, or is gone."""
        self._control = child
        if child is None:
            self._control_there.clear()
            self._store = replace(self._store, up=False)
        else:
            self._control_there.set()
            while self._notices:
                child.link.tell(self._notices.popleft())

    def answer_worker(self, worker: Child, message: Any) -> Any:
        match message:  # the most frequent first
            case Ask():
                return self._ledger.ask(worker.name, message)
            case Acquire():
                self._carriers[worker.name] = worker
                return self._engines.take(worker.name, message) or self._engines.acquire(worker.name, message)
            case Release():
                self._engines.release(worker.name, message)
            case Peek():
                return self._ledger.peek(message.ask)
            case Refund():
                self._ledger.refund(worker.name, message)
            case Renew():
                self._ledger.renew(worker.name, message)
            case Return():
                self._ledger.give_back(worker.name, message)
            case AuthorityState():
                return self.authority.change(worker.name, message.up)
            case Gone():
                return self._find_end(message)
            case Observation() if self.endpoints is not None:
                self.endpoints.observe(message)
            case Trial() if self.endpoints is not None:
                return Done(self.endpoints.give_trial(message))
            case LookUp():
                return self.ask_control(message)
            case Once() | Keep() | Recall() | Forget():
                return self._remember(message)
            case Notice():
                self._pass_on(message)
            case Command():
                return self._obey(message)
            case Failed():
                worker.fail(message.reason)
        return None

    def _remember(self, message: Once | Keep | Recall | Forget) -> Done | None:
        """The memory that all workers share."""
        match message:
            case Once():
                return Done(self._recollection.add(message.key, message.ttl))
            case Keep():
                self.values.put(message.key, message.value, message.ttl)
            case Recall():
                return Done(self.values.get(message.key))
            case Forget():
                self.values.put(message.key, b"", 0.0)
                self._recollection.drop(message.key)
        return None

    def _obey(self, command: Command) -> Any:
        """What workers may ask to be done."""
        if command.name == "foresee":
            return self._engines.foresee(**command.arguments)
        if command.name.startswith("models."):
            return self.models.obey(command)
        return self.ask_control(command) if command.name in _WORKERS_MAY else None

    def answer_control(self, control: Child, message: Any) -> Any:
        match message:
            case Settled():
                totals = {(key, period): units for key, period, units in message.totals}
                self._ledger.settle(message.writer, totals)
                self.unsettled.discard(message.writer)
                return Done()
            case Changed() | Recount():
                self._broadcast(message)
            case Fleet():
                self.authority.count(message.replicas)
            case StoreState():
                self._store, self._told = message, time.monotonic()
            case Command() if self.operate is not None:
                return self.operate(message)
            case Failed():
                control.fail(message.reason)
        return None

    async def _ask_worker(self, name: str, command: Command) -> Done | Failed:
        try:
            answer: Done | Failed = await self._carriers[name].link.call(command)
        except (KeyError, LinkClosed):
            return Failed("the worker has died")
        return answer

    async def _find_end(self, message: Gone) -> Done:
        return Done(await self._engines.find_end(message))

    def _pass_on(self, notice: Notice) -> None:
        """To control; one that is just being started again hears of it then."""
        if self._control is not None:
            self._control.link.tell(notice)
        else:
            self._notices.append(notice)

    def bury(self, writer: str) -> None:
        """A worker is dead: its slots are free, its charges will be settled by its journal."""
        self._carriers.pop(writer, None)
        self._engines.forget_writer(writer)
        self._ledger.bury(writer)
        self.authority.bury(writer)
        self.unsettled.add(writer)
        if self._control is not None:
            self._control.link.tell(WriterGone(writer))

    async def obey(self, command: Command, config: Config) -> Done | Failed:
        """What operators may ask to be done by engines and by control. `config` is the one in force."""
        if command.name.startswith("models."):
            return await self.models.obey(command, config)
        if command.name.startswith(_OPERATORS_MAY):
            return cast("Done | Failed", await self.ask_control(command))
        return Failed(f"there is no command {command.name!r}")

    def write_down(self, command: Command, answer: Done | Failed, actor: str) -> None:
        """Have control put an operator's act into the audit log, however long control is away."""
        act = describe_act(command, answer, actor)
        if act is not None:
            spawn(self._insist(Command("audit.note", act)), "audit")

    async def _insist(self, command: Command) -> None:
        while True:
            if isinstance(await self.ask_control(command), Done):
                return
            await asyncio.sleep(_AGAIN)

    async def ask_control(self, message: LookUp | Command) -> Any:
        """Control's answer; a control that is just being started again is waited for."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    await self._control_there.wait()
                    control = self._control
                    if control is None:
                        continue
                    answer: Awaitable[Any] = control.link.call(message)
                    try:
                        return await answer
                    except LinkClosed:
                        if self._control is control:
                            self.control = None
        except TimeoutError:
            return Failed("The control process does not answer", 1602, 1.0)

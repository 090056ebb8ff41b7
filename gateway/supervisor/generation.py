"""The workers of one configuration: started together, replaced when they die, drained when the next one serves."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import msgspec

import gateway
from gateway.exposition import Fold
from gateway.link import Command, Configure, Done, Drain, Failed, Hello, LinkClosed, Listen, Ready
from gateway.metrics import make_board_file
from gateway.settings.load import plain
from gateway.settings.schema import Config
from gateway.supervisor.child import Child, ChildFailed, Family, Spec, describe_exit
from gateway.supervisor.desk import Desk
from gateway.tasks import spawn

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds until a dead worker is replaced
_STABLE = 10.0  # seconds of life after which earlier deaths are forgotten
_KILL = 2.0  # seconds a worker may take beyond its linger

_log = logging.getLogger("tollkeeper")


class Resources(msgspec.Struct, frozen=True):
    """What all generations share. `next_name` gives a worker a name that never comes again."""

    family: Family
    fold: Fold
    desk: Desk
    boot: str
    token: str
    directory: str
    next_name: Callable[[], str]


class Generation:
    """`greet(worker)` tells a worker that is ready what it must know; `listen` are descriptors of the sockets."""

    def __init__(
        self, number: int, config: Config, listen: tuple[int, ...], resources: Resources,
        greet: Callable[[Child], None],
    ) -> None:  # fmt: skip
        self.number = number
        self.config = config
        self.linger = config.timeouts.total if config.timeouts.reload_linger is None else config.timeouts.reload_linger
        self.workers: list[Child] = []
        self._listen = listen
        self._shared = resources
        self._greet = greet
        self._data = msgspec.msgpack.encode(plain(config))
        self._count = config.count_workers()
        self._ending = False
        self._leaving: set[Child] = set()  # told to end by themselves: they serve no newcomers
        self._pause = _FIRST_PAUSE
        self._started: dict[str, float] = {}
        self._now = asyncio.get_running_loop().time

    async def start(self) -> None:
        """Start all workers and wait until they are ready; they do not accept yet. Raises ChildFailed, OSError."""
        try:
            await asyncio.gather(*[self._start_one() for _ in range(self._count)])
        except (ChildFailed, OSError):
            self.abort()
            raise

    def serve(self) -> None:
        """Let the workers accept."""
        for worker in self.workers:
            worker.link.tell(Listen())

    async def drain(self, linger: float) -> None:
        """Stop accepting, let what runs finish for at most `linger` seconds, and see all workers gone."""
        self._ending = True
        for worker in self.workers:
            worker.link.tell(Drain(float(linger)))  # a plain float: `Seconds` does not travel
        await asyncio.gather(*[self._see_off(worker, linger + _KILL) for worker in list(self.workers)])

    def abort(self) -> None:
        """End the workers now: WebSockets are told 1012, everything else is cut."""
        self._ending = True
        for worker in self.workers:
            worker.link.tell(Drain(0.0))
            spawn(self._see_off(worker, _KILL), f"see off {worker.name}")

    def tell(self, message: Any) -> None:
        for worker in self.workers:
            worker.link.tell(message)

    async def ask(self, command: Command) -> Done | Failed:
        """Have one worker answer."""
        worker = next((worker for worker in self.workers if worker.was_ready), None)
        if worker is None:
            return Failed("no worker runs at this moment")
        try:
            answer: Done | Failed = await worker.link.call(command)
        except LinkClosed:
            return Failed("the worker that was asked has died")
        return answer

    async def _see_off(self, worker: Child, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await worker.gone.wait()
        except TimeoutError:
            _log.warning("%s does not end and is killed", worker.name)
            worker.kill()
            await worker.gone.wait()

    async def _start_one(self) -> Child:
        shared = self._shared
        name = shared.next_name()
        board = make_board_file()
        listen = ",".join(map(str, self._listen))
        spec = Spec(
            "gateway.worker", name, ("--name", name, "--metrics", str(board), "--listen", listen),
            (board, *self._listen),
        )  # fmt: skip
        worker = await shared.family.start(spec, self._receive, self._bury)
        shared.fold.adopt(name, board)
        self.workers.append(worker)
        self._started[name] = self._now()
        await worker.wait_ready()
        self._greet(worker)
        if self._ending:
            worker.link.tell(Drain(0.0))  # it came too late to be told with the others
        return worker

    def _receive(self, worker: Child, message: Any) -> Any:
        match message:
            case Hello():
                return self._configure(worker, message)
            case Ready():
                worker.be_ready()
            case Drain():
                spawn(self._replace(worker), f"replace {worker.name}")
            case _:
                return self._shared.desk.answer_worker(worker, message)
        return None

    def _configure(self, worker: Child, hello: Hello) -> Configure | Failed:
        if hello.version != gateway.__version__:
            reason = f"version {gateway.__version__} runs, version {hello.version} is installed: restart needed"
            worker.fail(reason)
            return Failed(reason)
        shared = self._shared
        return Configure(self.number, self._data, shared.boot, shared.directory, shared.token)

    async def _replace(self, worker: Child) -> None:
        """A worker was told to end by itself (SIGTERM): another one takes over before it stops accepting."""
        if worker in self._leaving:
            return
        self._leaving.add(worker)
        if not self._ending:
            await self._add_one()
        worker.link.tell(Drain(float(self.linger)))

    def _bury(self, worker: Child) -> None:
        self.workers.remove(worker)
        self._leaving.discard(worker)
        lived = self._now() - self._started.pop(worker.name)
        self._shared.fold.retire(worker.name)
        if worker.was_ready:  # else it has charged nothing, and may have left no journal that could be settled
            self._shared.desk.bury(worker.name)
        if not self._is_short():
            return
        _log.error("%s died: %s", worker.name, describe_exit(worker.code or 0))
        own = self._shared.fold.own
        own.add(own.index("worker_restarts_total"))
        self._revive_later(lived)

    def _is_short(self) -> bool:
        """Whether a worker is missing. Those that are leaving do not count."""
        return not self._ending and len(self.workers) - len(self._leaving) < self._count

    def _revive_later(self, lived: float) -> None:
        self._pause = _FIRST_PAUSE if lived > _STABLE else min(self._pause * 2, _LONGEST_PAUSE)
        spawn(self._revive(self._pause), "revive worker")

    async def _revive(self, pause: float) -> None:
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))
        if self._is_short():
            await self._add_one()

    async def _add_one(self) -> None:
        """One worker more, that accepts. One that does not become ready is replaced when it is buried."""
        try:
            (await self._start_one()).link.tell(Listen())
        except ChildFailed as error:
            _log.error("a worker could not be started: %s", error)
        except OSError as error:
            _log.error("a worker could not be started: %s", error)
            self._revive_later(0.0)

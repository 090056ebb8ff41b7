"""The life of the gateway: start, reload, shutdown, and the death of anybody but itself."""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvloop

from gateway.backend import AnyBackend
from gateway.engines.plan import plan_engines
from gateway.engines.registry import Engines
from gateway.exposition import Fold
from gateway.heap import settle_heap
from gateway.link import Command, Done, Failed
from gateway.loader import load_backend
from gateway.log import set_up
from gateway.settings.address import parse_address
from gateway.settings.prepare import Prepared, prepare_to_serve
from gateway.settings.problem import ConfigError
from gateway.settings.schema import Config
from gateway.settings.state import claim, command_socket, is_url
from gateway.supervisor.authority import open_ledger
from gateway.supervisor.child import Child, ChildFailed, Family
from gateway.supervisor.command import CommandSocket
from gateway.supervisor.controller import Controller
from gateway.supervisor.desk import Desk
from gateway.supervisor.endpoints import Endpoints
from gateway.supervisor.generation import Generation, Resources
from gateway.supervisor.listening import Listeners, listen
from gateway.supervisor.reaper import reap_strays
from gateway.supervisor.report import Report
from gateway.supervisor.status import StatusServer
from gateway.tasks import spawn

_GENERATIONS = 4  # alive at once, the newest among them
_RELOAD = Command("reload")

_log = logging.getLogger("tollkeeper")

Banner = Callable[[Prepared, Sequence[str]], None]


def run(path: str, banner: Banner) -> int:
    """Serve the file at `path` until told to stop; the exit code. `banner` is called when requests are answered.

    Raises ConfigError, or OSError with a sentence, when the gateway cannot start.
    """
    prepared = prepare_to_serve(path)
    set_up("supervisor")
    directory = os.path.abspath(prepared.config.state.directory)
    lock = claim(directory)
    try:
        return uvloop.run(_serve(path, prepared, directory, banner))
    finally:
        os.close(lock)


async def _serve(path: str, prepared: Prepared, directory: str, banner: Banner) -> int:
    supervisor = Supervisor(path, directory, prepared.config)
    try:
        await supervisor.start(prepared.config)
        banner(prepared, supervisor.addresses())
        await supervisor.wait()
        return 0
    except ChildFailed as error:
        raise OSError(str(error)) from None
    finally:
        await supervisor.stop()


class Supervisor:
    """One run of the gateway. Raises OSError when an address or the state directory cannot be had."""

    def __init__(self, path: str, directory: str, config: Config) -> None:
        self._path = path
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._alive, self._life = os.pipe2(os.O_CLOEXEC)  # nobody else may hold the write end
        self._listeners = Listeners()
        self._generations: list[Generation] = []
        self._names = 0
        self._boot = secrets.token_hex(4)
        self._ending = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._fold = Fold()
        self._ledger = open_ledger(config, directory)
        self._engines = Engines(directory, self._alive, lambda: None)
        self._desk = Desk(self._ledger, self._engines, self._broadcast)
        family = Family(self._alive, self._ledger.batch)
        self._shared = Resources(
            family, self._fold, self._desk, self._boot, secrets.token_hex(32), directory, self._next_name
        )
        self._controller = Controller(self._shared, config)
        self._report = Report(self._generations, self._engines, self._desk, self._controller)
        self._status = StatusServer(self._fold, self._report.readiness)
        self._desk.operate = self._obey
        self._commands = CommandSocket(command_socket(directory), self._obey_operator)

    async def start(self, config: Config) -> None:
        """Bind, start everything, and accept. Raises OSError or ChildFailed."""
        status = listen(parse_address(config.listen.status))
        self._controller.listen(config.listen.admin)
        generation = self._prepare(config)
        self._engines.start(plan_engines(config), config.memory)
        spawn(self._controller.start(), "start control")
        await generation.start()
        if is_url(config.state.database):
            await self._controller.judge()
        self._adopt(generation, config)
        await self._commands.start()
        spawn(self._status.start(status), "status")
        self._report.register_gauges(self._fold, self._shared.directory, config.state)
        if os.getpid() == 1:
            spawn(reap_strays(self._is_ours), "reaper")
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: spawn(self._obey_operator(_RELOAD, "a signal"), "reload"))

    def addresses(self) -> list[str]:
        return self._listeners.names()

    async def wait(self) -> None:
        """Until the gateway is told to end."""
        await self._ending.wait()

    async def reload(self) -> Done | Failed:
        """Serve the file as it stands now. Whatever is wrong changes nothing and is said."""
        async with self._reloading:
            try:
                config = (await asyncio.to_thread(prepare_to_serve, self._path, self._refuse_lasting)).config
                generation = self._prepare(config)
                await generation.start()
            except (ConfigError, OSError, ChildFailed) as error:
                self._report.reload_error = str(error)
                self._listeners.keep_only(_addresses(self._config))
                _log.error("reload refused, the configuration in force stays: %s", error)
                return Failed(str(error))
            self._report.reload_error = ""
            self._engines.reload(plan_engines(config), self._generations[-1].linger, config.memory)
            self._adopt(generation, config)
            _log.info("generation %d serves", generation.number)
            return Done({"generation": generation.number})

    async def stop(self) -> None:
        """End everything in order: requests, engines, control, ledger."""
        self._begin_end()
        drain = self._config.timeouts.shutdown_drain
        await asyncio.gather(*[generation.drain(drain) for generation in self._generations])
        self._listeners.close()
        if self._report.endpoints is not None:
            self._report.endpoints.stop()
        await asyncio.gather(self._engines.stop(), self._controller.stop())
        self._controller.admin.close()
        self._commands.stop()
        await self._status.stop()
        self._ledger.close()
        os.close(self._life)

    def _prepare(self, config: Config) -> Generation:
        """A generation that is not started yet. Its addresses are bound."""
        sockets = self._listeners.bind(_addresses(config))
        number = self._generations[-1].number + 1 if self._generations else 1
        return Generation(number, config, tuple(s.fileno() for s in sockets), self._shared, self._greet)

    def _adopt(self, generation: Generation, config: Config) -> None:
        """From here on the new generation serves, and the old ones linger."""
        if self._report.endpoints is not None:
            self._report.endpoints.stop()
        endpoints = Endpoints(_load_backends(config), self._broadcast, self._loop.time)
        self._report.endpoints = self._desk.endpoints = endpoints
        endpoints.start()
        self._generations.append(generation)
        self._broadcast(endpoints.states())  # what its predecessor had found holds no longer
        generation.serve()
        if len(self._generations) > 1:
            spawn(self._retire(self._generations[-2]), "retire generation")
        for old in self._generations[:-_GENERATIONS]:
            old.abort()
        self._config = config
        self._controller.configure(config)
        self._listeners.keep_only(_addresses(config))
        settle_heap()

    async def _retire(self, generation: Generation) -> None:
        await generation.drain(generation.linger)
        self._generations.remove(generation)

    def _refuse_lasting(self, config: Config) -> None:
        """What only a restart can change."""
        old, new = self._config.listen, config.listen
        if config.state != self._config.state or (old.status, old.admin) != (new.status, new.admin):
            raise OSError("state, listen.status and listen.admin change by a restart only")

    def _greet(self, worker: Child) -> None:
        if self._report.endpoints is not None:
            worker.link.tell(self._report.endpoints.states())

    def _broadcast(self, message: Any) -> None:
        for generation in self._generations:
            generation.tell(message)

    def _next_name(self) -> str:
        self._names += 1
        return f"{self._boot}-w{self._names}"

    def _end(self) -> None:
        """The first signal drains, the second cuts."""
        if self._ending.is_set():
            for generation in self._generations:
                generation.abort()
        self._begin_end()

    def _begin_end(self) -> None:
        self._report.is_ending = True
        self._ending.set()

    def _is_ours(self, pid: int) -> bool:
        return pid in self._shared.family.pids or self._engines.owns(pid)

    async def _obey_operator(self, command: Command, actor: str) -> Done | Failed:
        answer = await self._obey(command)
        self._desk.write_down(command, answer, actor)
        return answer

    async def _obey(self, command: Command) -> Done | Failed:
        if command.name == "reload":
            return await self.reload()
        if command.name == "drain":
            self._begin_end()
            return Done()
        if command.name == "status":
            return Done(self._report.describe(self._boot, self.addresses()))
        if command.name == "measures":
            return Done({"at": self._loop.time(), "sums": self._fold.plain()})
        if command.name == "explain":
            return await self._generations[-1].ask(command)
        return await self._desk.obey(command, self._config)


def _addresses(config: Config) -> list[str]:
    return [listener.address for listener in config.listen.proxy]


def _load_backends(config: Config) -> Mapping[str, AnyBackend]:
    return {name: load_backend(name, *backend.engine) for name, backend in config.backends.items()}

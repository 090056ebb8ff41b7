"""A worker: it holds client and upstream connections and runs one configuration for life.

Started by the supervisor as `python -P -m gateway.worker` with the numbers of its inherited descriptors. It asks the
supervisor for everything that belongs to all workers, and ends when the supervisor does.
"""

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import uvloop

import gateway
from gateway.backlog import Backlog, plan_segment
from gateway.descriptors import Descriptors, read_arguments
from gateway.heap import settle_heap
from gateway.http.client import ClientLimits
from gateway.http.connection import Connection
from gateway.http.deadline import Sweeper
from gateway.http.pool import Pool
from gateway.http.server import HttpServer, ServerLimits
from gateway.http.tls import CertificateFile, Renewal, ServerContext, server_context
from gateway.journal import Journal
from gateway.link import Changed, Command, Configure, Drain, EndpointStates, Failed, Hello, Link, Listen, Ready, Recount
from gateway.link.door import Door
from gateway.log import set_up
from gateway.metrics import Board
from gateway.relay.assembly import Assembly, assemble
from gateway.relay.authority import Authority
from gateway.relay.carriage import Carriage
from gateway.relay.directory import Directory, read_consumers
from gateway.relay.explanation import Explainer
from gateway.relay.forward import Forwarder
from gateway.relay.ids import Ids
from gateway.relay.places import Places
from gateway.relay.relay import Relay
from gateway.relay.services import make_services
from gateway.relay.tally import Tally
from gateway.relay.witness import Witness
from gateway.settings.load import from_plain
from gateway.settings.schema import Config, Listener
from gateway.settings.state import control_socket, journal_folder
from gateway.tasks import spawn
from gateway.watchdog import Watchdog

_ORPHANED = 4.0  # seconds that running requests get when the supervisor is gone
_GRACE = 1.0  # seconds in which a drained worker still answers kept connections
_STEP, _LAST_STEPS = 0.01, 30  # seconds, and how many of them, until the last handlers have ended
_GOODBYE = 1.0  # seconds in which those that are cut off can still be told so


class Worker:
    """One run of one worker. `name` is unique for ever: it names the journal and the ledger's writer."""

    def __init__(self, name: str, descriptors: Descriptors) -> None:
        self._name = name
        self._descriptors = descriptors
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._is_up = False
        self._cut_at: float | None = None  # loop time; set once it drains
        self._cut: asyncio.Handle
        self._config: Config
        self._server: HttpServer
        self._authority: Authority
        self._directory: Directory
        self._places: Places
        self._assembly: Assembly
        self._carriage: Carriage
        self._explainer: Explainer

    async def run(self) -> None:
        """Serve until drained or orphaned."""
        link_socket = socket.socket(fileno=self._descriptors.link)
        _, self._link = await self._loop.create_unix_connection(
            lambda: Link(self._receive, self._orphan), sock=link_socket
        )
        self._loop.add_reader(self._descriptors.alive, self._orphan)
        self._loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal's; the supervisor decides
        self._loop.add_signal_handler(signal.SIGTERM, self._ask_to_drain)
        configure = await self._link.call(Hello("worker", self._name, gateway.__version__, os.getpid()))
        if not isinstance(configure, Configure):
            return
        self._config = config = from_plain(msgspec.msgpack.decode(configure.config))
        try:
            await self._start(config, configure)
        except Exception as error:
            self._link.tell(Failed(f"{type(error).__name__}: {error}"))
            raise
        settle_heap()
        self._is_up = True
        self._link.tell(Ready())
        watchdog = Watchdog(lambda: self._board.add(self._stalls), self._notice_lag)
        await self._end.wait()
        watchdog.stop()
        await self._stop()

    async def _start(self, config: Config, configure: Configure) -> None:
        loop, link, timeouts = self._loop, self._link, config.timeouts
        self._sweeper = Sweeper(loop)
        self._pool = Pool(loop, self._sweeper, ClientLimits())
        way = Door(control_socket(configure.directory), configure.token)
        self._assembly = assemble(config, time.time_ns() // 1_000_000_000, way=way)
        self._board = board = Board(self._descriptors.metrics)
        self._places = Places(link, config, board)
        self._assembly.life.places = self._places
        self._directory = Directory(read_consumers(config.consumers), link.call)
        self._stalls, self._lag = board.index("loop_stalls_total"), board.index("loop_lag_seconds")
        folder, bound = Path(journal_folder(configure.directory)), config.state.journal
        self._journal = Journal(folder, self._name, segment_bytes=plan_segment(bound, config.count_workers()))
        self._sweeper.add(Backlog(self._journal, bound, board))
        registry = self._assembly.directions.registry
        witness = Witness(self._journal, Tally(board, registry), time.monotonic)
        self._authority = authority = Authority(config.state.redis, self._name, link, board)
        await authority.start()
        services = make_services(link, authority.wallet, self._directory, board, config, authority.shared)
        for plugin in self._assembly.plugins:
            await plugin.start(services)
        self._explainer = Explainer(config, self._assembly, services, self._places, configure.generation)
        forwarder = Forwarder(self._pool, self._places, timeouts.connect, witness.opened, time.monotonic)
        self._carriage = carriage = Carriage(forwarder, self._places, self._sweeper, config, witness.progressed)
        self._relay = Relay(self._assembly.directions, carriage, witness, configure.generation, Ids())
        self._server = HttpServer(loop, self._relay.handle, _server_limits(config), self._sweeper, self._refuse)
        self._tls = [_tls(listener) for listener in config.listen.proxy]
        self._sweeper.add(Renewal([context for context in self._tls if context is not None]))

    def _listen(self) -> None:
        if self._cut_at is None:
            proxies = self._config.listen.proxy
            for descriptor, tls, listener in zip(self._descriptors.listen, self._tls, proxies, strict=True):
                sock, is_shared = socket.socket(fileno=descriptor), self._config.workers != 1
                self._server.listen(sock, tls, is_shared, listener.proxy_protocol)

    def _receive(self, message: Any) -> Any:
        match message:
            case Listen():
                self._listen()
            case Drain():
                self._drain(message.linger)
            case EndpointStates():
                self._places.inform(message, time.monotonic())
            case Changed():
                self._directory.forget(message.digests)
            case Recount():
                self._authority.recount()
            case Command("silence", {"load": load}):
                return self._places.measure_silence(load)
            case Command("explain"):
                return self._explainer.answer(message)
        return None

    def _refuse(self, connection: Connection, number: int, message: str) -> bytes:
        """What the server says where no request could be read."""
        return self._relay.refuse(number, message)

    def _notice_lag(self, lag: float) -> None:
        self._board.slots[self._lag] = self._carriage.shedding.notice(lag)

    def _ask_to_drain(self) -> None:
        """SIGTERM to this worker alone: the supervisor is told, so that it starts another one, and answers `Drain`."""
        self._link.tell(Drain(0.0))

    def _orphan(self) -> None:
        """The supervisor is gone, however it died: give up the address at once, finish what runs, end."""
        self._loop.remove_reader(self._descriptors.alive)
        if not self._is_up:
            os._exit(0)
        self._drain(_ORPHANED)

    def _drain(self, linger: float) -> None:
        """Stop accepting and finish what runs, for at most `linger` seconds. Told again, the sooner end counts."""
        if not self._is_up:
            self._end.set()
            return
        at = self._loop.time() + linger
        if self._cut_at is None:
            self._server.stop_listening()
            spawn(self._finish(), "drain")
        elif at < self._cut_at:
            self._cut.cancel()
        else:
            return
        self._cut_at = at
        self._cut = self._loop.call_at(at, lambda: spawn(self._cut_off(), "cut off"))

    async def _finish(self) -> None:
        await self._server.drain(_GRACE)
        await self._server.wait_idle()
        self._end.set()

    async def _cut_off(self) -> None:
        """Time is up: streams get an error event, requests an error, WebSockets a goodbye."""
        self._carriage.break_off()
        self._server.dismiss()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_idle(), _GOODBYE)
        self._end.set()

    async def _stop(self) -> None:
        self._server.close()
        for _ in range(_LAST_STEPS):  # handlers that were cancelled write their closing records
            await asyncio.sleep(_STEP)
            if self._carriage.is_idle:
                break
        await asyncio.gather(self._explainer.stop(), *[plugin.stop() for plugin in self._assembly.plugins])
        self._authority.close()
        self._journal.close()
        self._pool.close()
        self._sweeper.close()
        self._link.close()


def _server_limits(config: Config) -> ServerLimits:
    limits, timeouts = config.limits, config.timeouts
    return ServerLimits(
        header_bytes=limits.header, header_count=limits.headers, connections=limits.connections,
        connections_per_client=limits.connections_per_client, header_timeout=timeouts.header,
        keep_alive=timeouts.keep_alive, body_timeout=timeouts.body, body_rate_min=limits.body_rate,
        write_timeout=timeouts.write, pipeline=limits.pipeline,
    )  # fmt: skip


def _tls(listener: Listener) -> ServerContext | None:
    if not listener.certificates:
        return None
    return server_context([CertificateFile(Path(c.cert), Path(c.key), c.names) for c in listener.certificates])


def main() -> None:
    name, descriptors = read_arguments()
    set_up(name)

    async def run() -> None:
        await Worker(name, descriptors).run()

    uvloop.run(run())


if __name__ == "__main__":
    main()

"""The control process: keeps the store, follows the journals, answers the supervisor.

It may be killed at any moment: what it had not stored is still in the journals, and a writer that it had not settled
is settled by its successor.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from gateway.control.analytics.roller import Roller
from gateway.control.api.house import House
from gateway.control.api.server import Servers
from gateway.control.api.surfaces import ENDPOINTS
from gateway.control.audit.book import Book
from gateway.control.audit.entry import Entry
from gateway.control.audit.keeper import Keeper
from gateway.control.command import Commands
from gateway.control.consumer import DirectoryError, StoreBusy, Stranger
from gateway.control.directory import Directory
from gateway.control.fetch import Fetches
from gateway.control.fleet import Fleet
from gateway.control.follower import Follower
from gateway.control.ingest import Ingest
from gateway.control.lookup import Lookups
from gateway.control.retention import AGE, SIZE, Retention
from gateway.control.settlement import Settlement
from gateway.control.store import open_store
from gateway.control.telemetry import Telemetry
from gateway.control.upkeep import Upkeep
from gateway.control.webhook import Letter, Webhooks
from gateway.journal import Closed
from gateway.link import Command, Configure, Done, Drain, Failed, Link, LookUp, Notice, WriterGone
from gateway.log import print_requests
from gateway.metrics import Board
from gateway.settings.load import from_plain
from gateway.settings.schema import Config
from gateway.settings.state import (
    audit_head_file,
    control_socket,
    journal_folder,
    read_instance,
    store_file,
    store_location,
)
from gateway.tasks import spawn

_REPORT = 1.0  # seconds between two reports on the store
_DIRECTORY_UNAVAILABLE = 1602
_OWN_KEY = "me.rotate"
_NUMBERS: dict[type[Exception], int] = {StoreBusy: _DIRECTORY_UNAVAILABLE, Stranger: 1303}

_log = logging.getLogger("tollkeeper.control")
T = TypeVar("T")


class Control:
    """What the process does once it is configured. Raises StoreError where the store cannot be opened.

    `board` is where it counts, on the loop's thread, `admin` the descriptor of the admin address.
    """

    def __init__(self, link: Link, configure: Configure, board: Board, admin: int | None = None) -> None:
        config = _read_config(configure)
        self._store = store = open_store(store_location(configure.directory, config.state.database))
        instance = read_instance(configure.directory)
        owner = instance if store.is_shared else ""  # what another replica left is its own to finish
        journals = Path(journal_folder(configure.directory))
        journals.mkdir(mode=0o700, parents=True, exist_ok=True)
        ingest = Ingest(store, journals, _unix_microseconds, self._show_requests, owner)
        self._link = link
        self.board = board
        self._config = config
        settlement = Settlement(store, _unix_microseconds, owner)
        self._follower = follower = Follower(link, ingest, settlement)
        if config.state.redis:
            follower.fleet = Fleet(config.state.redis, instance, link, settlement, follower.call)
        self._directory = Directory(store, config, _unix_microseconds)
        retention = Retention(store, config.state, _unix_microseconds)
        self._upkeep = Upkeep(store, retention, store_file(configure.directory))
        self._lookups = Lookups(store, self._directory, link.tell)
        self._book = book = Book(store, instance, audit_head_file(configure.directory), _unix_microseconds)
        self._commands = Commands(store, self._directory, book)
        self._keeper = Keeper(book, self._on_thread, self._retain_audit, _unix_microseconds)
        self._roller = Roller(store, _unix_microseconds)
        self._thread = ThreadPoolExecutor(1, "command")
        self._fetches = Fetches()
        self._telemetry = Telemetry(board, _unix_microseconds, instance)
        self._webhooks = Webhooks(store, lambda: self._config.webhooks, _unix_microseconds, owner)
        self._house = House(
            store, _unix_microseconds, lambda: self._config, self._thread, configure.directory, self._command,
            link.call, self._keeper.note,
        )  # fmt: skip
        path = control_socket(configure.directory)
        self._servers = Servers(ENDPOINTS, self._house, path, configure.token, admin, board)

    async def run(self) -> None:
        """Until the supervisor sends Drain and everything is stored, or until it is gone. To be called once."""
        fleet = self._follower.fleet
        jobs = {
            "report": self._report(),
            "changes": self._lookups.follow(),
            "upkeep": self._upkeep.run(),
            "roll-ups": self._roller.run(),
            "audit": self._keeper.run(),
            "left over": self._tell(self._webhooks.left_over),
        }
        if fleet is not None:
            jobs["fleet"] = fleet.run()
        tasks = [spawn(job, name) for name, job in jobs.items()]
        await self._servers.start()
        self._telemetry.configure(self._config)
        try:
            await self._follower.run()
        finally:
            await self._servers.close()
            await self._telemetry.close()
            self._house.close()
            self._webhooks.close()
            for task in tasks:
                task.cancel()
            if fleet is not None:
                await fleet.close()
            self._lookups.close()
            self._upkeep.close()
            self._roller.close()
            self._thread.shutdown()
            self._follower.close()
            self._store.close()

    def handle(self, message: Any) -> Any:
        """Answer one message of the supervisor."""
        match message:
            case LookUp():
                return self._lookups.answer(message.digest)
            case Command():
                return self._command(message)
            case Configure():  # the file was read again
                self._config = self._directory.consumers.config = _read_config(message)
                self._telemetry.configure(self._config)
            case Notice():
                spawn(self._tell(partial(self._webhooks.note, message)), "notice")
            case WriterGone():
                spawn(self._follower.tell(message.writer), f"settle {message.writer}")
            case Drain():
                self._follower.drain()
        return None

    async def _command(self, command: Command) -> Done | Failed:
        loop = asyncio.get_running_loop()
        try:
            if command.name == "fetch":
                wish = command.arguments
                return Done(await self._fetches.get(str(wish.get("url")), wish.get("allow_private") is True))
            change = await loop.run_in_executor(self._thread, self._commands.run, command.name, command.arguments)
        except (DirectoryError, OSError) as error:
            return Failed(str(error), _NUMBERS.get(type(error), 0))
        self._lookups.changed(change.digests)
        if command.name == _OWN_KEY:
            await self._house.note(self._describe_rotation(command.arguments, change.data))
        return Done(change.data)

    def _describe_rotation(self, asked: dict[str, Any], made: Any) -> Entry:
        actor = f"consumer {asked['consumer']}"
        return Entry(_unix_microseconds(), actor, _OWN_KEY, str(asked["id"]), details={"made": str(made["id"])})

    async def _tell(self, find: Callable[[], list[Letter]]) -> None:
        """Send what `find` says is to be told. What the store does not take now is not told."""
        try:
            letters = await self._on_thread(find)
        except SQLAlchemyError as error:
            _log.error("an event cannot be told: %s", error)
        else:
            self._webhooks.send(letters, self._on_thread)

    async def _on_thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _show_requests(self, requests: list[Closed]) -> None:
        self._house.tail.publish(requests)
        self._telemetry.take(requests)
        if self._config.log.requests:
            print_requests(requests)

    def _retain_audit(self) -> int:
        return int(self._config.state.retention_audit * 1_000_000)

    async def _report(self) -> None:
        while True:
            removed = self._upkeep.removed
            self._link.tell(
                replace(self._follower.state(), size=self._upkeep.size, aged=removed[AGE], evicted=removed[SIZE])
            )
            await asyncio.sleep(_REPORT)


def _read_config(configure: Configure) -> Config:
    return from_plain(msgspec.msgpack.decode(configure.config))


def _unix_microseconds() -> int:
    return time.time_ns() // 1000

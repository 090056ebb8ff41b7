"""What control lends to the handlers of its API: the store on threads, the operator's commands, the supervisor."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.control.audit.entry import Entry
from gateway.control.patience import Impatience, patience
from gateway.control.pulls import Pulls
from gateway.control.store import Store
from gateway.control.tail import Tail
from gateway.errors import GatewayError
from gateway.link import Command, Done, Failed, LinkClosed
from gateway.relay.ids import Ids
from gateway.settings.schema import Config

_PATIENCE = 20.0  # seconds that a question to the store may take
_READERS = 4  # queries at once; a slow one holds up no other surface
_IMPOSSIBLE = 1401

T = TypeVar("T")
Obey = Callable[[Command], Awaitable[Done | Failed]]
Audit = Callable[[Entry], Awaitable[None]]

_log = logging.getLogger("tollkeeper.control")


class House:
    """`clock` is unix microseconds, `config` the file as it was last read, `writer` the thread of short writes.

    `folder` is the state directory. `directory` obeys the commands that are control's own, `supervisor` the others.
    `audit` writes an entry down.
    """

    def __init__(
        self, store: Store, clock: Callable[[], int], config: Callable[[], Config], writer: Executor,
        folder: str, directory: Obey, supervisor: Obey, audit: Audit,
    ) -> None:  # fmt: skip
        self.store = store
        self.clock = clock
        self.config = config
        self.directory = folder
        self._writer = writer
        self._directory = directory
        self._supervisor = supervisor
        self._audit = audit
        self.pulls = Pulls(clock, Ids())
        self.tail = Tail()
        self._readers = ThreadPoolExecutor(_READERS, "reader")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """`work` on a reading connection. Raises GatewayError 1605 where the store is away, 1811 for too long."""
        try:
            return await self._run(self._readers, partial(self._read, work))
        except Impatience:
            raise GatewayError(1811, details={"seconds": _PATIENCE}) from None

    async def write(self, work: Callable[[Connection], T]) -> T:
        """`work` in a transaction that writes, committed when it returns. Raises GatewayError 1605."""
        return await self._run(self._writer, partial(self._write, work))

    async def note(self, entry: Entry) -> None:
        """Put an entry into the audit log. Where the store does not take it, the process's log tells it instead."""
        try:
            await self._audit(entry)
        except SQLAlchemyError as error:
            _log.error("not in the audit log: %s by %s from %s: %s", entry.action, entry.actor, entry.address, error)

    async def witness(self, act: Entry, doing: Awaitable[T]) -> T:
        """What `doing` returns or raises, once the audit log knows how it ended."""
        try:
            result = await doing
        except GatewayError as error:
            details = {**act.details, "error": str(error.number), "reason": str(error)}
            await self.note(msgspec.structs.replace(act, outcome="refused", details=details))
            raise
        await self.note(act)
        return result

    async def command(self, name: str, /, **arguments: Any) -> Any:
        """Have a command of the directory done (`Commands`). Raises GatewayError."""
        return _result(await self._directory(Command(name, arguments)))

    async def ask(self, name: str, /, **arguments: Any) -> Any:
        """Have the supervisor do one of its commands. Raises GatewayError."""
        try:
            return _result(await self._supervisor(Command(name, arguments)))
        except LinkClosed:
            raise GatewayError(1901) from None

    def close(self) -> None:
        self.pulls.close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self.store.reading.connect() as connection, patience(connection, _PATIENCE):
            return work(connection)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self.store.writing.begin() as connection:
            return work(connection)

    async def _run(self, threads: Executor, act: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, act)
        except SQLAlchemyError as error:
            raise GatewayError(1605) from error


def _result(answer: Done | Failed) -> Any:
    if isinstance(answer, Failed):
        text = f"{answer.reason[:1].upper()}{answer.reason[1:].rstrip('.')}."
        raise GatewayError(answer.number or _IMPOSSIBLE, text, details=answer.details)
    return answer.data

"""What control lends to the handlers of its API: the store on threads, the operator's commands, the supervisor."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.control.store import Store
from gateway.errors import GatewayError
from gateway.settings.schema import Config

_READERS = 4  # queries at once; a slow one holds up no other surface

T = TypeVar("T")
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class House:
    """`clock` is unix microseconds, `config` the file as it was last read.

    `command` runs one of the directory's commands, `ask` one of the supervisor's; both by name and arguments, both
    raise GatewayError. `writer` is the thread on which control writes what nobody waits long for.
    """

    def __init__(
        self, store: Store, clock: Callable[[], int], config: Callable[[], Config], writer: Executor,
        command: Ask, ask: Ask,
    ) -> None:  # fmt: skip
        self.store = store
        self.clock = clock
        self.config = config
        self.command = command
        self.ask = ask
        self._writer = writer
        self._readers = ThreadPoolExecutor(_READERS, "reader")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """`work` on a reading connection. Raises GatewayError 1605 where the store does not answer."""
        return await self._run(self._readers, partial(self._read, work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """`work` in a transaction that writes, committed when it returns. Raises GatewayError 1605."""
        return await self._run(self._writer, partial(self._write, work))

    def close(self) -> None:
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self.store.reading.connect() as connection:
            return work(connection)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self.store.writing.begin() as connection:
            return work(connection)

    async def _run(self, threads: Executor, act: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, act)
        except SQLAlchemyError as error:
            raise GatewayError(1605) from error

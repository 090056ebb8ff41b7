"""OpenTelemetry where the file wants it (`otel`): only then is its code loaded."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.journal import Closed
from gateway.metrics import Board
from gateway.settings.schema import Config
from gateway.tasks import spawn

if TYPE_CHECKING:
    from gateway.control.otel.exporter import Exporter

_log = logging.getLogger("tollkeeper.control")


class Telemetry:
    """Hands stored rows to the exporter. `clock` is unix microseconds, `instance` names this gateway."""

    def __init__(self, board: Board, clock: Callable[[], int], instance: str) -> None:
        self._board = board
        self._clock = clock
        self._instance = instance
        self._config = Config()
        self._loop = asyncio.get_running_loop()
        self._exporter: Exporter | None = None
        self._task: asyncio.Task[None] | None = None

    def configure(self, config: Config) -> None:
        """Begin to export, if `config` wants it; one that exports already goes by the new configuration."""
        self._config = config
        if config.otel is None or self._exporter is not None:
            return
        try:
            from gateway.control.otel.exporter import Exporter
        except ImportError as error:  # its packages were there when the file was checked
            _log.error("otel: nothing is exported: %s", error)
            return
        self._exporter = Exporter(lambda: self._config, self._board, self._clock, self._instance)
        self._task = spawn(self._exporter.run(), "otel")

    def take(self, requests: list[Closed]) -> None:
        """Rows that were stored. May be called on any thread."""
        if self._exporter is not None:
            self._loop.call_soon_threadsafe(self._exporter.take, requests)

    async def close(self) -> None:
        """Return when what waited is told, or after a few seconds."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

"""An explanation without a gateway: from the file alone, as if it had just been started and nothing were spent."""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.lease import Wallet
from gateway.link import Command, Done, Failed, Found, Link, LookUp, Once, Peek, Recall
from gateway.metrics import Board, make_board_file
from gateway.relay.assembly import assemble
from gateway.relay.directory import Directory, read_consumers
from gateway.relay.explanation import Explainer
from gateway.relay.places import Places
from gateway.relay.services import make_services
from gateway.settings.prepare import prepare
from gateway.settings.schema import Config

_STOPPED = {"state": "not running", "slots": 0, "in_use": 0, "waiting": 0}


class NoSupervisor:
    """Stands for the link to a supervisor that is not there: nothing is spent, and no key is known but the file's."""

    closed = False

    def __init__(self, ledger: EmbeddedLedger) -> None:
        self._ledger = ledger

    def call(self, message: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(self._answer(message))
        return future

    def tell(self, message: Any) -> None:
        """Nobody listens."""

    def _answer(self, message: Any) -> Any:
        match message:
            case Peek():
                return self._ledger.peek(message.ask)
            case LookUp():
                return Found(None)
            case Recall():
                return Done(None)
            case Once():
                return Done(True)
            case Command("foresee"):
                return Done(_STOPPED)
        return Failed("no gateway runs")


def explain_offline(file: str, question: dict[str, Any]) -> Any:
    """What a gateway that serves `file` would do. Raises ConfigError, and OSError for demo keys that cannot be kept."""
    config = prepare(file).config
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_explain(config, Path(folder), question))


async def _explain(config: Config, folder: Path, question: dict[str, Any]) -> Any:
    ledger = EmbeddedLedger.open(folder, Clock())
    link = cast("Link", NoSupervisor(ledger))
    board_file = make_board_file()
    board = Board(board_file)
    os.close(board_file)
    wallet = Wallet(link.call, link.tell, time.monotonic, lambda ask: link.call(Peek(ask)))
    directory = Directory(read_consumers(config.consumers), link.call)
    services = make_services(link, wallet, directory, board, config)
    assembly = assemble(config, time.time_ns() // 1_000_000_000)
    explainer = Explainer(config, assembly, services, Places(link, config), 0)
    try:
        return (await explainer.answer(Command("explain", question))).data
    finally:
        await explainer.stop()
        ledger.close()

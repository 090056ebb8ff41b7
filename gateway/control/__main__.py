"""`python -P -m gateway.control --link FD --alive FD --metrics FD [--admin FD]`: started by the supervisor alone."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import uvloop
from sqlalchemy.exc import OperationalError

from gateway import __version__
from gateway.control.app import Control
from gateway.control.store import StoreAway, StoreError
from gateway.heap import settle_heap
from gateway.link import Configure, Drain, Failed, Hello, Link, LinkClosed, Ready, StoreState
from gateway.log import set_up
from gateway.metrics import Board

_RETRY = 1.0  # seconds until a store that is away is looked for again
_QUIET = 10.0  # seconds between two log lines about it

_log = logging.getLogger("tollkeeper.control")


async def serve(link_file: int, alive_file: int, board: Board, admin_file: int | None) -> int:
    """Do control's work on an inherited socket until told to stop, or until the supervisor is gone."""
    control: Control | None = None

    def handle(message: Any) -> Any:
        if control is not None:
            return control.handle(message)
        if isinstance(message, Drain):
            link.close()
        return Failed("control is not ready", 1602)

    loop = asyncio.get_running_loop()
    link = Link(handle)
    await loop.create_connection(lambda: link, sock=socket.socket(fileno=link_file))

    def leave() -> None:  # the pipe is readable when the supervisor's end is closed
        loop.remove_reader(alive_file)
        link.close()

    loop.add_reader(alive_file, leave)
    try:
        answer = await link.call(Hello("control", "control", __version__, os.getpid()))
        if not isinstance(answer, Configure):
            _log.error("the supervisor refuses: %s", answer.reason)
            return 3
        control = await _begin(link, lambda: Control(link, answer, board, admin_file))
        if control is not None:
            settle_heap()
            link.tell(Ready())
            await control.run()
    except LinkClosed:
        _log.error("the supervisor left before it said anything")
        return 3
    except StoreError as error:
        _log.error("%s", error)
        link.tell(Failed(str(error)))
        return 3
    finally:
        leave()
    return 0


async def _begin(link: Link, make: Callable[[], Control]) -> Control | None:
    """Control, once its store can be reached; None when the supervisor left first. Model calls go on meanwhile."""
    begin, complained = time.monotonic(), -_QUIET
    while not link.closed:
        try:
            return make()
        except (StoreAway, OperationalError) as error:
            if time.monotonic() - complained >= _QUIET:
                complained = time.monotonic()
                _log.error("%s; it is tried again", error)
        link.tell(StoreState(False, time.monotonic() - begin, 0))
        await asyncio.sleep(_RETRY)
    return None


def main() -> None:
    """A terminal's or service manager's signals reach every process: only the supervisor acts on them."""
    parser = argparse.ArgumentParser(prog="gateway.control")
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--alive", type=int, required=True)
    parser.add_argument("--metrics", type=int, required=True)
    parser.add_argument("--admin", type=int)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    set_up("control")
    raise SystemExit(uvloop.run(serve(given.link, given.alive, Board(given.metrics), given.admin)))


if __name__ == "__main__":
    main()

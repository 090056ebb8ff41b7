"""`python -P -m gateway.control --link FD --alive FD --metrics FD [--admin FD]`: started by the supervisor, never by hand."""

import argparse
import asyncio
import logging
import os
import signal
import socket
from typing import Any

import uvloop

from gateway import __version__
from gateway.control.app import Control
from gateway.control.store import StoreError
from gateway.link import Configure, Failed, Hello, Link, LinkClosed, Ready
from gateway.log import set_up
from gateway.metrics import Board

_log = logging.getLogger("tollkeeper.control")


async def serve(link_file: int, alive_file: int, board: Board, admin_file: int | None) -> int:
    """Do control's work on an inherited socket until told to stop, or until the supervisor is gone."""
    control: Control | None = None

    def handle(message: Any) -> Any:
        return Failed("control is not ready", 1602) if control is None else control.handle(message)

    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(lambda: Link(handle), sock=socket.socket(fileno=link_file))

    def leave() -> None:  # the pipe is readable when the supervisor's end is closed
        loop.remove_reader(alive_file)
        link.close()

    loop.add_reader(alive_file, leave)
    try:
        answer = await link.call(Hello("control", "control", __version__, os.getpid()))
        if not isinstance(answer, Configure):
            _log.error("the supervisor refuses: %s", answer.reason)
            return 3
        control = Control(link, answer, board, admin_file)
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

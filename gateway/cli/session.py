"""Commands to the running gateway, over the socket in its state directory."""

import asyncio
import os
from typing import Any

import gateway
from gateway.link import Command, Done, Failed, Hello, Link
from gateway.settings.state import command_socket

_PATIENCE = 60.0  # seconds for an answer; a reload checks the file and starts workers first


class NotRunning(Exception):
    """No gateway listens in the state directory."""


class Refused(Exception):
    """The gateway did not do what was asked; the text says why."""


def ask(directory: str, name: str, arguments: dict[str, Any] | None = None) -> Any:
    """Send a command and return its data; raises NotRunning or Refused."""
    return asyncio.run(_ask(command_socket(directory), Command(name, arguments or {})))


async def _ask(path: str, command: Command) -> Any:
    loop = asyncio.get_running_loop()
    try:
        _, link = await loop.create_unix_connection(lambda: Link(lambda message: None), path)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning("no gateway runs here") from None
    except PermissionError:
        raise NotRunning(f"the gateway's socket {path} belongs to another user") from None
    try:
        async with asyncio.timeout(_PATIENCE):
            for message in (Hello("command", "cli", gateway.__version__, os.getpid()), command):
                answer = await link.call(message)
                if isinstance(answer, Failed):
                    raise Refused(answer.reason)
    except TimeoutError:
        raise Refused(f"no answer within {_PATIENCE:.0f} s") from None
    except ConnectionError:
        raise Refused("the gateway closed the connection without an answer") from None
    finally:
        link.close()
    return answer.data if isinstance(answer, Done) else None

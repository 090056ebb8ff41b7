"""How the echo engine fails when a request asks for it."""

import asyncio
import os
import socket
import struct

from aiohttp import web

_BEFORE_HEAD = ("reset", "hang", "garbage", "exit")


def fails_before_head(fault: int | str | None, after: int) -> bool:
    """Whether a stream fails in this way without a head; the other faults need one."""
    return fault in _BEFORE_HEAD and after == 0


async def break_off(request: web.Request, fault: str) -> None:
    """End the connection, or the process, in the way that `fault` names; does not return.

    When the connection is gone, by us or by the client, the server cancels the handler that waits here.
    """
    transport = request.transport
    if fault == "exit":
        os._exit(3)
    if fault == "garbage" and transport is not None:
        transport.write(b"\x00\x01 this is not HTTP\r\n\r\n")
    if fault == "reset" and transport is not None:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends a RST
        transport.abort()
    elif fault != "hang" and transport is not None:
        transport.close()
    await asyncio.Event().wait()

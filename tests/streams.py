"""Long answers as their clients see them: streams of events, and WebSockets."""

import asyncio
import json

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.harness import Document, Gateway
from tests.load import Client, Cut


async def read_stream(gateway: Gateway, document: Document, name: str = "") -> tuple[bytes, bool]:
    """What came of a stream, and whether it was cut."""
    client = Client(gateway.address, gateway.key("monthly"), fresh=True)
    received = b""
    try:
        async for piece in client.stream(document, name):
            received += piece
    except Cut:
        return received, True
    finally:
        client.close()
    return received, False


async def open_socket(gateway: Gateway) -> ClientConnection:
    socket = await connect(
        gateway.url.replace("http", "ws") + "/v1/echo/ws",
        additional_headers={"Authorization": f"Bearer {gateway.key('open')}"},
    )
    await socket.send("hello")
    assert await socket.recv() == "hello"
    return socket


async def close_code(socket: ClientConnection, within: float = 10.0) -> int | None:
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(within):
            while True:
                await socket.recv()
    return socket.close_code


def check_told(received: bytes, number: int = 1901) -> None:
    """The last event is the error, and no end marker came."""
    last = received.rstrip(b"\n").rpartition(b"\n\n")[2]
    assert json.loads(last.removeprefix(b"data: "))["error"]["number"] == number
    assert b"[DONE]" not in received

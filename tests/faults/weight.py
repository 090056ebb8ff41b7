"""Faults of content: too much of it, of the wrong kind, or with headers a gateway must not believe."""

import asyncio
import functools
import zlib

from tests.faults.answer import completion, event, usage_event, whole
from tests.faults.catalogue import Order, fault
from tests.faults.wire import Peer, Request

_BOMB = 200_000_000  # bytes of zeros


@fault
async def ok(peer: Peer, request: Request, order: Order) -> None:
    """The well-behaved answer, streamed where the request asks for it."""
    model = request.fields.get("model", "m")
    if not request.streams:
        await peer.send(whole(completion(model)))
        return
    options = request.fields.get("stream_options")
    wants_usage = isinstance(options, dict) and options.get("include_usage") is True
    events = [event("one", model), event(" two", model)] + [usage_event(model)] * wants_usage
    await peer.send(whole(b"".join(events) + b"data: [DONE]\n\n", kind="text/event-stream"))


@fault
async def bighead(peer: Peer, request: Request, order: Order) -> None:
    """One header of 100 KB (F12)."""
    await peer.send(whole(completion(), extra="X-Big: " + "a" * 100_000 + "\r\n"))


@fault
async def manyheads(peer: Peer, request: Request, order: Order) -> None:
    """10,000 headers (F12)."""
    await peer.send(whole(completion(), extra="".join(f"X-{n}: 1\r\n" for n in range(10_000))))


@functools.cache
def _zipped(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1_000_000)
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


@fault
async def bomb(peer: Peer, request: Request, order: Order) -> None:
    """200 MB of zeros as 200 KB of gzip (F13)."""
    packed = await asyncio.to_thread(_zipped, int(order.number("size", _BOMB)))
    await peer.send(whole(packed, extra="Content-Encoding: gzip\r\n"))


@fault
async def flood(peer: Peer, request: Request, order: Order) -> None:
    """`size` bytes as fast as the other side takes them (F45: a client that does not read)."""
    left = int(order.number("size", 1_000_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {left}\r\n\r\n"
    await peer.send(head.encode())
    block = bytes(65_536)
    while left:
        await peer.send(block[:left])
        left -= min(left, len(block))


@fault
async def json_error(peer: Peer, request: Request, order: Order) -> None:
    """An error object under status 200 (F17)."""
    await peer.send(whole(b'{"error":{"message":"no","type":"server_error","param":null,"code":null}}'))


@fault
async def html(peer: Peer, request: Request, order: Order) -> None:
    """A login page under status 200 (F17)."""
    await peer.send(whole(b"<!doctype html><title>Sign in</title>", kind="text/html"))


@fault
async def redirect(peer: Peer, request: Request, order: Order) -> None:
    """A redirect to `to`: following it would hand the request and its key to somebody else (S24)."""
    await peer.send(
        whole(b"", "307 Temporary Redirect", extra=f"Location: {order.text('to', 'http://127.0.0.1:1/')}\r\n")
    )


@fault
async def hostile(peer: Peer, request: Request, order: Order) -> None:
    """A good body under headers that only the gateway may set, and some that must stop at it (S28)."""
    names = ("X-RateLimit-Remaining: 9", "X-Request-ID: forged", "X-Tollkeeper-Error: 1501", "X-Quota-Tier: gold")
    others = ("Access-Control-Allow-Origin: *", "Proxy-Authenticate: Basic", "Keep-Alive: timeout=1", "Server: old/1.0")
    await peer.send(whole(completion(), extra="".join(f"{line}\r\n" for line in names + others)))

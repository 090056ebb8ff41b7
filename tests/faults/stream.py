"""Faults of event streams: silence, speed, drip, no end, errors in-band, and byte-exact fixtures."""

from tests.faults.answer import DONE, LAST_CHUNK, STREAM_HEAD, chunk, event
from tests.faults.catalogue import Order, fault
from tests.faults.fixture import FIXTURES
from tests.faults.wire import Peer, Request


@fault
async def sse_idle(peer: Peer, request: Request, order: Order) -> None:
    """One event, then silence until the other side closes (F07, F44)."""
    await peer.send(STREAM_HEAD + chunk(event("one")))
    await peer.gone.wait()


@fault
async def sse_fast(peer: Peer, request: Request, order: Order) -> None:
    """`count` events (0: for ever), one every `interval` seconds, then a good end."""
    await peer.send(STREAM_HEAD)
    sent, count = 0, int(order.number("count", 0))
    while not count or sent < count:
        await peer.send(chunk(event(f" {sent}")))
        await peer.pause(order.number("interval", 0.02))
        sent += 1
    await peer.send(chunk(DONE) + LAST_CHUNK)


@fault
async def drip(peer: Peer, request: Request, order: Order) -> None:
    """A whole event, then one byte of an endless one every `interval` seconds (F08)."""
    await peer.send(STREAM_HEAD + chunk(event("one")) + chunk(b"data: "))
    while True:
        await peer.send(chunk(b"a"))
        await peer.pause(order.number("interval", 1))


@fault
async def fixture(peer: Peer, request: Request, order: Order) -> None:
    """The stream called `name`, cut into chunks where it hurts (F17)."""
    shown = FIXTURES[order.text("name", "plain")]
    pieces = (shown.body[at : at + shown.split] for at in range(0, len(shown.body), shown.split))
    await peer.send(STREAM_HEAD)
    for piece in pieces:
        await peer.send(chunk(piece))
    await peer.send(LAST_CHUNK)


@fault
async def empty_stream(peer: Peer, request: Request, order: Order) -> None:
    """Status 200, an event stream, no event: a clean end of nothing."""
    await peer.send(STREAM_HEAD + LAST_CHUNK)


@fault
async def error_event(peer: Peer, request: Request, order: Order) -> None:
    """One event, an error told in-band, then a clean end."""
    told = b'data: {"error":{"message":"out of memory","type":"server_error","param":null,"code":null}}\n\n'
    await peer.send(STREAM_HEAD + chunk(event("one")) + chunk(told) + LAST_CHUNK)


@fault
async def no_done(peer: Peer, request: Request, order: Order) -> None:
    """A stream that ends cleanly but never says [DONE]."""
    await peer.send(STREAM_HEAD + chunk(event("one")) + LAST_CHUNK)

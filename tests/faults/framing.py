"""Faults of a connection and of the frame of a message: resets, cut and ambiguous lengths, garbage, odd endings."""

import base64
import hashlib
import random
from weakref import WeakSet

from tests.faults.answer import STREAM_HEAD, chunk, completion, event, whole
from tests.faults.catalogue import FAULTS, Order, fault
from tests.faults.wire import Peer, Request

_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_dice = random.Random(0)


@fault
async def rst_head(peer: Peer, request: Request, order: Order) -> None:
    """RST before any byte (F03)."""
    peer.reset()


@fault
async def fin_head(peer: Peer, request: Request, order: Order) -> None:
    """FIN before any byte."""
    peer.close()


@fault
async def rst_midhead(peer: Peer, request: Request, order: Order) -> None:
    """RST in the middle of the headers (F04)."""
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-")
    await peer.settle()
    peer.reset()


@fault
async def rst_mid(peer: Peer, request: Request, order: Order) -> None:
    """RST after `count` chunks of a stream (F05)."""
    await _begin_stream(peer, order)
    peer.reset()


@fault
async def fin_mid(peer: Peer, request: Request, order: Order) -> None:
    """FIN after `count` chunks of a stream, without a last chunk (F05)."""
    await _begin_stream(peer, order)
    peer.close()


async def _begin_stream(peer: Peer, order: Order) -> None:
    pieces = (chunk(event("one")) for _ in range(int(order.number("count", 1))))
    await peer.send(STREAM_HEAD + b"".join(pieces))
    await peer.settle()


@fault
async def hang(peer: Peer, request: Request, order: Order) -> None:
    """Never answers; the connection stays open until the other side closes it (F06, F44)."""
    await peer.gone.wait()


@fault
async def slow(peer: Peer, request: Request, order: Order) -> None:
    """A good answer after `delay` seconds."""
    await peer.pause(order.number("delay", 1))
    await peer.send(whole(completion()))


@fault
async def cl_short(peer: Peer, request: Request, order: Order) -> None:
    """Promises 100 bytes, sends 5, closes (F09)."""
    await peer.send(_JSON + b'Content-Length: 100\r\n\r\n{"a":')
    peer.close()


@fault
async def cl_long(peer: Peer, request: Request, order: Order) -> None:
    """Promises 2 bytes, then sends a whole second response nobody asked for (F10)."""
    smuggled = whole(b"evil", extra="X-Evil: 1\r\n")
    await peer.send(_JSON + b"Content-Length: 2\r\n\r\n{}" + smuggled)


@fault
async def garbage(peer: Peer, request: Request, order: Order) -> None:
    """Not HTTP (F11)."""
    await peer.send(b"\x00\xffgarbage\r\n\r\n")
    peer.close()


@fault
async def dup_te(peer: Peer, request: Request, order: Order) -> None:
    """Content-Length and Transfer-Encoding together (F11; RFC 9112, 6.3)."""
    await peer.send(_JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")


@fault
async def two_lengths(peer: Peer, request: Request, order: Order) -> None:
    """Two Content-Lengths that disagree (F11)."""
    await peer.send(_JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ")


@fault
async def bad_chunk(peer: Peer, request: Request, order: Order) -> None:
    """A chunk size that is no number, after one good chunk."""
    await peer.send(STREAM_HEAD + chunk(event("one")) + b"zz\r\n")
    await peer.settle()
    peer.close()


@fault
async def http10(peer: Peer, request: Request, order: Order) -> None:
    """HTTP/1.0, no length: the end of the connection is the end of the body. Legal."""
    await peer.send(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + completion())
    peer.close()


@fault
async def race(peer: Peer, request: Request, order: Order) -> None:
    """A good keep-alive answer, then the connection closes without having said so (F03)."""
    await peer.send(whole(completion()))
    await peer.pause(order.number("delay", 0))
    peer.close()


@fault
async def interim(peer: Peer, request: Request, order: Order) -> None:
    """1xx responses before the final one (RFC 9110, 15.2). Legal."""
    await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    await peer.settle()
    await peer.send(whole(completion()))


@fault
async def trailers(peer: Peer, request: Request, order: Order) -> None:
    """A trailer section after the last chunk. Legal."""
    head = _JSON + b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    await peer.send(head + chunk(completion()) + b"0\r\nX-Sum: 1\r\nX-Consumer-ID: forged\r\n\r\n")


@fault
async def early(peer: Peer, request: Request, order: Order) -> None:
    """Refuses with 413 and closes."""
    await peer.send(whole(b'{"error":{"message":"too large"}}', "413 Content Too Large", extra="Connection: close\r\n"))
    peer.close()


@fault
async def upgrade(peer: Peer, request: Request, order: Order) -> None:
    """Accepts a WebSocket (RFC 6455, 4.2.2), then echoes every byte as it came."""
    nonce = request.headers.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(nonce.encode()).digest()).decode()
    await peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while True:
        await peer.send(await peer.take(1))


async def errors(peer: Peer, request: Request, order: Order) -> None:
    """500 or 503 with probability `p`, else a good answer (F14, F15)."""
    if _dice.random() >= order.number("p", 1):
        await peer.send(whole(completion()))
        return
    status = order.text("status", _dice.choice(("500 Internal Server Error", "503 Service Unavailable")))
    await peer.send(whole(b'{"error":{"message":"sick","type":"server_error"}}', status))


FAULTS["5xx"] = errors


_served: WeakSet[Peer] = WeakSet()


@fault
async def stale(peer: Peer, request: Request, order: Order) -> None:
    """A good answer to a connection's first request, RST to the second: the race of keep-alive, every time (F03)."""
    if peer in _served:
        peer.reset()
    else:
        _served.add(peer)
        await peer.send(whole(completion()))

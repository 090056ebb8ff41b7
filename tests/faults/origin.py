"""A model server that misbehaves on request, on a loopback socket.

    with Origin() as origin: ...               in a thread, for a test
    python -m tests.faults.origin --port 0     as a process; prints its port

The fault is named by the header `x-fault`, the body's field `fault`, or the first segment of the path; see
`catalogue`. `GET /__ev` tells of every connection that had a request (`faults`, `opened`, `closed`: seconds of
CLOCK_MONOTONIC, the same in every process of the machine; `how`: fin, rst, origin). `GET /__log` gives every request's
`head` and `body` as they came (Latin-1), in order.
"""

import argparse
import asyncio
import threading
import time
import urllib.request
from collections import deque
from types import TracebackType

import msgspec

from gateway.tasks import spawn
from tests.faults import framing, reference, stream, weight
from tests.faults.answer import whole
from tests.faults.catalogue import FAULTS, read_order
from tests.faults.wire import Gone, Peer, Request

__all__ = ["Connection", "Entry", "Origin", "framing", "reference", "serve", "stream", "weight"]  # they enter faults

_KEPT = 20_000  # entries of each list


class Entry(msgspec.Struct):
    """One request as it came."""

    head: str
    body: str
    fault: str


class Connection(msgspec.Struct):
    """One connection that carried a request. `closed` is None while it is open."""

    opened: float
    faults: list[str]
    closed: float | None = None
    how: str = ""


class _Book:
    """What has happened so far."""

    def __init__(self) -> None:
        self.connections: deque[Connection] = deque(maxlen=_KEPT)
        self.entries: deque[Entry] = deque(maxlen=_KEPT)

    def enter(self, seen: Connection, request: Request, name: str) -> None:
        if not seen.faults:
            self.connections.append(seen)
        seen.faults.append(name)
        self.entries.append(Entry(request.head.decode("latin-1"), request.body.decode("latin-1"), name))


async def serve(host: str, port: int) -> asyncio.Server:
    """Start listening; port 0 picks a free one."""
    book = _Book()

    def connect() -> Peer:
        peer = Peer()
        spawn(_converse(peer, book), "fault origin")
        return peer

    return await asyncio.get_running_loop().create_server(connect, host, port, backlog=4096)


async def _converse(peer: Peer, book: _Book) -> None:
    seen = Connection(time.monotonic(), [])
    try:
        while not peer.gone.is_set():
            request = await peer.read_request()
            await _answer(peer, book, seen, request)
            if request.headers.get("connection", "").lower() == "close":
                peer.close()
    except (Gone, ValueError):  # ValueError: what came was no HTTP
        pass
    finally:
        peer.close()
        seen.closed = time.monotonic()
        seen.how = peer.how


async def _answer(peer: Peer, book: _Book, seen: Connection, request: Request) -> None:
    if request.path == "/__ev":
        await peer.send(whole(msgspec.json.encode(list(book.connections))))
    elif request.path == "/__log":
        await peer.send(whole(msgspec.json.encode(list(book.entries))))
    else:
        order = read_order(request)
        book.enter(seen, request, order.name)
        await FAULTS[order.name](peer, request, order)


class Origin:
    """The fault origin in a thread of this process, for the length of a `with`."""

    def __init__(self) -> None:
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="fault origin")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connections(self) -> list[Connection]:
        return msgspec.json.decode(self._get("/__ev"), type=list[Connection])

    def entries(self) -> list[Entry]:
        return msgspec.json.decode(self._get("/__log"), type=list[Entry])

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return bytes(answer.read())

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await serve("127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    def __enter__(self) -> "Origin":
        self._thread.start()
        if not self._ready.wait(5):
            raise RuntimeError("the fault origin did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


async def _main(host: str, port: int) -> None:
    server = await serve(host, port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A model server that misbehaves on request.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.host, arguments.port))

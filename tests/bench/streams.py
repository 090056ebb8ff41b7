"""Both ends of many event streams, cheap enough to share one core: a ticking upstream and a counting client.

    python -m tests.bench.streams upstream --port P --interval 0.02
    python -m tests.bench.streams client --port P --count 512 --seconds 5

The client prints `ready` when every stream has begun, and after `seconds` one line of JSON: `chunks` received in that
time by all streams, and `alive`, how many of them received any. Raw `asyncio.Protocol` on uvloop; a web server here
would cost more than what is measured.
"""

import argparse
import asyncio
import json
from typing import cast

import uvloop

from tests.bench.place import KEY, MODEL

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"%b","choices":'
    b'[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n' % MODEL.encode()
)
_CHUNK = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)
_SLOTS = 20  # parts of an interval: the streams do not all tick at once
_BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
_REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %b\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (KEY.encode(), len(_BODY), _BODY)
)


class Upstream(asyncio.Protocol):
    """Answers whatever comes with an endless stream; `slots`: the streams by their part of the interval."""

    def __init__(self, slots: list[set[asyncio.Transport]]) -> None:
        self._slots = slots
        self._slot: set[asyncio.Transport] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own

    def data_received(self, data: bytes) -> None:
        if self._slot is None:
            self._slot = min(self._slots, key=len)
            self._slot.add(self._transport)
            self._transport.write(_HEAD)

    def connection_lost(self, error: Exception | None) -> None:
        if self._slot is not None:
            self._slot.discard(self._transport)


async def serve(port: int, interval: float) -> None:
    """Tick for ever."""
    loop = asyncio.get_running_loop()
    slots: list[set[asyncio.Transport]] = [set() for _ in range(_SLOTS)]
    await loop.create_server(lambda: Upstream(slots), "127.0.0.1", port, backlog=4096)
    due, turn = loop.time(), 0
    while True:
        for transport in slots[turn % _SLOTS]:
            transport.write(_CHUNK)
        turn += 1
        due += interval / _SLOTS
        await asyncio.sleep(max(0.0, due - loop.time()))


class Stream(asyncio.Protocol):
    """One client: asks once, then counts events. `chunks` is reset by the reader."""

    def __init__(self) -> None:
        self.chunks = 0
        self.began = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        found = data.count(b"data: ")
        if found:
            self.chunks += found
            self.began.set()
        elif not self.began.is_set() and not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"a stream was refused: {data[:200]!r}")


async def read(port: int, count: int, seconds: float) -> None:
    """Open the streams, let them run, count."""
    loop = asyncio.get_running_loop()
    opened: list[Stream] = []
    for first in range(0, count, 100):
        group = range(first, min(first + 100, count))
        pairs = await asyncio.gather(*(loop.create_connection(Stream, "127.0.0.1", port) for _ in group))
        opened += [protocol for _, protocol in pairs]
    async with asyncio.timeout(60):
        for stream in opened:
            await stream.began.wait()
    print("ready", flush=True)
    for stream in opened:
        stream.chunks = 0
    await asyncio.sleep(seconds)
    counts = [stream.chunks for stream in opened]
    print(json.dumps({"chunks": sum(counts), "alive": sum(map(bool, counts))}), flush=True)


async def _main(arguments: argparse.Namespace) -> None:
    if arguments.end == "upstream":
        await serve(arguments.port, arguments.interval)
    else:
        await read(arguments.port, arguments.count, arguments.seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("end", choices=("upstream", "client"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interval", type=float, default=0.02)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=5)
    uvloop.run(_main(parser.parse_args()))

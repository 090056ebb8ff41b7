"""A client that keeps a pace: so many requests per second whatever the answers do, and what each had to wait.

    python -m tests.bench.paced --port P --rate 1000 --seconds 5

Prints one line of JSON: `p50` and `p99` in seconds, and `late`, the share of requests for which no connection was free.
"""

import argparse
import asyncio
import json
import time
from typing import cast

import uvloop

from tests.bench.load import BODY
from tests.bench.place import KEY

_HEAD = (
    f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
    "Content-Type: application/json"
)
_LINKS = 32


class Link(asyncio.Protocol):
    """One keep-alive connection with at most one request under way. Answers of up to one segment."""

    def __init__(self, waits: list[float], request: bytes) -> None:
        self._waits = waits
        self._request = request
        self._sent = 0.0
        self.busy = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own

    def send(self) -> None:
        self.busy = True
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"refused: {data[:100]!r}")
        self._waits.append(time.perf_counter() - self._sent)
        self.busy = False


async def measure(port: int, rate: float, seconds: float, body: str = BODY) -> dict[str, float]:
    """Send at the pace for `seconds`, after half a second of warming up that is not counted."""
    request = f"{_HEAD}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    links: list[Link] = []
    for _ in range(_LINKS):
        _, link = await loop.create_connection(lambda: Link(waits, request), "127.0.0.1", port)
        links.append(link)
    late = 0
    start = time.perf_counter()  # loop.time() has whole milliseconds
    for number in range(int(rate * (seconds + 0.5))):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        if number == int(rate * 0.5):
            waits.clear()
        free = next((link for link in links if not link.busy), None)
        if free is None:
            late += 1
        else:
            free.send()
    await asyncio.sleep(0.2)
    waits.sort()
    return {"p50": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100], "late": late / (rate * seconds)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    print(json.dumps(uvloop.run(measure(arguments.port, arguments.rate, arguments.seconds))))

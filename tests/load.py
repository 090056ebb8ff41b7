"""Clients for tests of the whole gateway: fast, and strict about what counts as a whole answer."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

CHAT = "/v1/chat/completions"
_ids = itertools.count(1)


class Cut(Exception):
    """The answer did not come, or not whole."""


class Answer(NamedTuple):
    """`sent` and `received` are monotonic seconds: of the request's last byte, and of the answer's."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: float
    received: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def chat(text: str = "Hello there", *, stream: bool = False, **echo: Any) -> dict[str, Any]:
    """A chat completion that asks the echo engine for `echo` (backends/echo/script.py)."""
    asked = {"model": "echo", "messages": [{"role": "user", "content": text}], "stream": stream}
    return {**asked, "echo": echo} if echo else asked


class Client:
    """One connection at a time; a closed one is replaced before the next request, never in the middle of one."""

    def __init__(self, address: tuple[str, int], key: str, fresh: bool = False, lines: str = "") -> None:
        self._address = address
        self._key = key
        self._fresh = fresh
        self._lines = lines  # of headers, each ending in CRLF
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self, document: dict[str, Any] | None = None, path: str = CHAT, request_id: str = "", method: str = "POST"
    ) -> Answer:
        """One request and its whole answer. Raises Cut."""
        try:
            await self._send(document, path, request_id, method)
            sent = time.monotonic()
            status, headers = await self._read_head()
            body = b"".join([piece async for piece in self._read_body(status, headers)])
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            self.close()
            raise Cut(f"{type(error).__name__}: {error}") from None
        self._rest(headers)
        return Answer(status, headers, body, sent, time.monotonic())

    async def stream(self, document: dict[str, Any], request_id: str = "") -> AsyncIterator[bytes]:
        """The pieces of a body as they come. Raises Cut at the place where a broken answer ends."""
        try:
            await self._send(document, CHAT, request_id, "POST")
            status, headers = await self._read_head()
            assert status == 200, (status, headers)
            async for piece in self._read_body(status, headers):
                yield piece
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self.close()
            raise Cut(f"{type(error).__name__}: {error}") from None
        self._rest(headers)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _send(self, document: dict[str, Any] | None, path: str, request_id: str, method: str) -> None:
        if self._writer is None or self._reader is None or self._reader.at_eof() or self._writer.is_closing():
            self.close()
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=1 << 20)
        body = json.dumps(document).encode() if document is not None else b""
        named = f"X-Request-ID: {request_id}\r\n" if request_id else ""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {self._key}\r\n{named}{self._lines}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        assert self._reader is not None
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def _read_body(self, status: int, headers: dict[str, str]) -> AsyncIterator[bytes]:
        assert self._reader is not None
        if "content-length" in headers:
            yield await self._reader.readexactly(int(headers["content-length"]))
            return
        assert headers.get("transfer-encoding") == "chunked", (status, headers)
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)

    def _rest(self, headers: dict[str, str]) -> None:
        if self._fresh or headers.get("connection") == "close":
            self.close()


class Load:
    """Clients that ask one request after another until told to stop. What happened to each request is kept by its id.

    `make(n)` is the n-th request's document; `pause` seconds lie between two requests of one client.
    """

    def __init__(
        self, address: tuple[str, int], key: str, make: Callable[[int], dict[str, Any]] = lambda n: chat(),
        pause: float = 0.0,
    ) -> None:  # fmt: skip
        self.whole: dict[str, Answer] = {}
        self.cut: dict[str, str] = {}
        self._address = address
        self._key = key
        self._make = make
        self._pause = pause
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, clients: int, fresh: bool = False) -> None:
        self._tasks += [asyncio.create_task(self._ask_on(fresh)) for _ in range(clients)]

    async def stop(self, within: float = 15.0) -> None:
        """Let every client end its request."""
        self._stopping = True
        async with asyncio.timeout(within):
            await asyncio.gather(*self._tasks)

    @property
    def asked(self) -> int:
        return len(self.whole) + len(self.cut)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.whole.values())

    def check_flawless(self) -> None:
        """Every request was answered wholly, with 200."""
        assert not self.cut, f"{len(self.cut)} of {self.asked} were cut: {list(self.cut.items())[:3]}"
        bad = [answer for answer in self.whole.values() if answer.status != 200]
        assert not bad, f"{len(bad)} of {self.asked} were refused: {bad[:3]}"

    async def _ask_on(self, fresh: bool) -> None:
        client = Client(self._address, self._key, fresh)
        while not self._stopping:
            number = next(_ids)
            name = f"load-{number}"
            try:
                self.whole[name] = await client.ask(self._make(number), request_id=name)
            except Cut as error:
                self.cut[name] = str(error)
                await asyncio.sleep(0.01)
            if self._pause:
                await asyncio.sleep(self._pause)
        client.close()

"""One connection to the fault origin, below HTTP: raw bytes in, raw bytes out, and how the other side left."""

import asyncio
import socket
import struct
from urllib.parse import parse_qsl, urlsplit

import msgspec


class Gone(Exception):
    """The peer has left; whatever a fault was about to do is pointless now."""


class Request(msgspec.Struct):
    """A request as it came. `head` is every byte up to and including the empty line; names are lower case."""

    head: bytes
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def fields(self) -> dict[str, object]:
        """The JSON object of the body, or nothing."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, object])
        except msgspec.MsgspecError:
            return {}

    @property
    def streams(self) -> bool:
        return self.fields.get("stream") is True


class Peer(asyncio.Protocol):
    """What the origin holds of one connection.

    `gone` is set when the other side closed; `how` then says `fin` or `rst`, or `origin` where we closed first.
    """

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.how = ""
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._arrived.set()

    def eof_received(self) -> bool:
        self._leave("fin")
        return True  # half open: a fault may still want to write

    def connection_lost(self, error: Exception | None) -> None:
        self._leave("rst" if error else "fin")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _leave(self, how: str) -> None:
        self.how = self.how or how
        self.gone.set()
        self._arrived.set()
        self._writable.set()

    async def send(self, data: bytes) -> None:
        """Write with back-pressure; raises Gone when nobody is there any more."""
        if self.gone.is_set():
            raise Gone
        self._transport.write(data)
        await self._writable.wait()

    async def pause(self, seconds: float) -> None:
        """Sleep, but not longer than the peer stays; raises Gone when it left."""
        try:
            await asyncio.wait_for(self.gone.wait(), seconds)
        except TimeoutError:
            return
        raise Gone

    async def settle(self) -> None:
        """Let what was written reach the other side's socket, so that a following RST does not overtake it."""
        await self.pause(0.05)

    def close(self) -> None:
        """FIN."""
        self._leave("origin")
        self._transport.close()

    def reset(self) -> None:
        """A real RST (SO_LINGER with 0 s, then close), not a FIN."""
        self._leave("origin")
        handle = self._transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def read_request(self) -> Request:
        """The next request, body included; raises Gone when none comes."""
        head = await self._take_until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines if line)
        request = Request(head, method, target, {name.lower(): value.strip() for name, _, value in pairs})
        if request.headers.get("expect") == "100-continue":
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            request.body = await self._take_chunks()
        else:
            request.body = await self.take(int(request.headers.get("content-length", "0")))
        return request

    async def _take_chunks(self) -> bytes:
        body = bytearray()
        while size := int((await self._take_until(b"\r\n")).split(b";")[0], 16):
            body += (await self.take(size + 2))[:-2]
        while await self._take_until(b"\r\n") != b"\r\n":
            pass
        return bytes(body)

    async def _take_until(self, end: bytes) -> bytes:
        while (found := self._buffer.find(end)) < 0:
            await self._more()
        return await self.take(found + len(end))

    async def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        while len(self._buffer) < count:
            await self._more()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _more(self) -> None:
        if self.gone.is_set():
            raise Gone
        self._arrived.clear()
        await self._arrived.wait()

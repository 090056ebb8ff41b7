"""The link: how the processes talk to each other.

One socket per child (and one listening unix socket for commands) carries frames of four bytes of length (big endian)
and a msgpack pair `[call, message]`. `call` 0 is a push; n > 0 asks for an answer, which comes back as -n. Both ends
may ask. The first message of a child is `Hello`; another protocol version is refused there.
"""

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

from gateway.exchange import Credential
from gateway.ledger.limit import Ask, Denial, Grant, Refund, Return
from gateway.tasks import spawn

PROTOCOL = 1
_LARGEST = 64 * 1024 * 1024  # bytes in one frame; a configuration is the largest message


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What travels on the link. Fields are only ever appended."""


class Hello(Message, frozen=True):
    """A child's first words. `version` is the code's; the supervisor refuses one that is not its own."""

    role: str  # worker, control, command
    name: str
    version: str
    pid: int
    protocol: int = PROTOCOL


class Configure(Message, frozen=True):
    """The generation a child lives by. `config` is the expanded file as plain data in msgpack."""

    generation: int
    config: bytes
    boot: str
    directory: str  # the state directory, absolute


class Ready(Message, frozen=True):
    """The child does its work from now on."""


class Listen(Message, frozen=True):
    """Accept connections from now on: told to a worker that is `Ready`."""


class Failed(Message, frozen=True):
    """The call was not done; `reason` is a sentence for a person, `number` one of the catalogue or 0."""

    reason: str
    number: int = 0
    retry_after: float = 0.0  # seconds


class Done(Message, frozen=True):
    """The call was done; `data` is what it returns, as plain data."""

    data: Any = None


class Drain(Message, frozen=True):
    """Stop accepting, finish what runs for at most `linger` seconds, exit. WebSockets live until then."""

    linger: float


class Acquire(Message, frozen=True):
    """Ask for a slot of a backend; answered by `Slot` or `Failed`. `request` is the internal id of the request."""

    backend: str
    request: str
    wait: float  # seconds the request may still wait for a slot
    load: float  # seconds it may wait for the engine to become ready


class Slot(Message, frozen=True):
    """A slot and where it is. `load` names the engine's process run; `queued` and `loading` are seconds waited."""

    url: str
    load: str = ""
    queued: float = 0.0
    loading: float = 0.0


class Release(Message, frozen=True):
    """Give a slot back, or leave the queue. `progress` tells whether the engine answered anything."""

    backend: str
    request: str
    progress: bool = False


class Gone(Message, frozen=True):
    """Ask whether the process run `load` of a backend has ended; answered by `Done(bool)`."""

    backend: str
    load: str


class Observation(Message, frozen=True):
    """What a worker saw of an endpoint: `ok`, or a failure that is `blame`d on it ('endpoint' or 'unclear')."""

    backend: str
    endpoint: str
    ok: bool
    blame: str = ""
    consumer: str = ""


class EndpointStates(Message, frozen=True):
    """Endpoints that must not be used now, by backend; pushed whole on every change."""

    down: dict[str, tuple[str, ...]]


class EngineStates(Message, frozen=True):
    """State of each supervised engine, by backend; pushed whole on every change."""

    states: dict[str, str]


class LookUp(Message, frozen=True):
    """Ask the directory for a key by its SHA-256; answered by `Found`."""

    digest: bytes


class Found(Message, frozen=True):
    credential: Credential | None


class Changed(Message, frozen=True):
    """Keys whose directory entry changed; caches drop them. Empty: drop everything."""

    digests: tuple[bytes, ...] = ()


class WriterGone(Message, frozen=True):
    """A worker instance is dead: control finishes its journal, closes its open records, then settles."""

    writer: str


class Settled(Message, frozen=True):
    """What a dead writer's journal says it spent: (quota key, period, milli-units)."""

    writer: str
    totals: tuple[tuple[str, str, int], ...]


class StoreState(Message, frozen=True):
    """How the trace store does, pushed by control every second."""

    up: bool
    lag: float  # seconds since everything in the journals was stored
    lost: int  # records that are missing from the journals


class Command(Message, frozen=True):
    """An operator's wish, such as status, reload, drain, or one of the directory's; answered by Done or Failed."""

    name: str
    arguments: dict[str, Any] = {}


AnyMessage = (
    Hello | Configure | Ready | Listen | Failed | Done | Drain | Acquire | Slot | Release | Gone | Observation
    | EndpointStates | EngineStates | LookUp | Found | Changed | WriterGone | Settled | StoreState | Command
    | Ask | Grant | Denial | Refund | Return
)  # fmt: skip
Handler = Callable[[Any], Any]  # a message or an awaitable of one for a call; ignored for a push

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, AnyMessage])
_length = struct.Struct(">I")


class LinkClosed(ConnectionError):
    """The other end is gone; nothing more will come."""


class Link(asyncio.Protocol):
    """One end of a link. `handler` is called for each message; `on_close` once, when the other end is gone.

    Frames that arrive together are handled inside one `around()` context, so that an authority can write once for
    all of them; what is sent within one turn of the loop leaves in one write.
    """

    def __init__(
        self,
        handler: Handler,
        on_close: Callable[[], None] = lambda: None,
        around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self._handler = handler
        self._on_close = on_close
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._outgoing: list[bytes] = []
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._last_call = 0
        self.closed = False

    def call(self, message: msgspec.Struct) -> asyncio.Future[Any]:
        """Send `message` and return a future of the answer; it raises `LinkClosed` when the other end dies first."""
        future = self._loop.create_future()
        if self.closed:
            future.set_exception(LinkClosed("the link is closed"))
            return future
        self._last_call += 1
        self._calls[self._last_call] = future
        self._send(self._last_call, message)
        return future

    def tell(self, message: msgspec.Struct) -> None:
        """Send `message` and expect nothing; silently dropped when the other end is gone."""
        if not self.closed:
            self._send(0, message)

    def close(self) -> None:
        """Flush what was sent and close."""
        if self._transport is not None and not self.closed:
            self._flush()
            self._transport.close()

    def _send(self, call: int, message: msgspec.Struct) -> None:
        frame = _encoder.encode((call, message))
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(_length.pack(len(frame)))
        self._outgoing.append(frame)

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None and not self.closed:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start = 0
        with self._around():
            while len(received) - start >= 4:
                (length,) = _length.unpack_from(received, start)
                if length > _LARGEST:
                    raise LinkClosed(f"a frame of {length} bytes")
                end = start + 4 + length
                if len(received) < end:
                    break
                with memoryview(received) as view:
                    call, message = _decoder.decode(view[start + 4 : end])
                start = end
                self._receive(call, message)
        del received[:start]

    def _receive(self, call: int, message: Any) -> None:
        if call < 0:
            future = self._calls.pop(-call, None)
            if future is not None and not future.done():
                future.set_result(message)
            return
        answer = self._handler(message)
        if isinstance(answer, Awaitable):
            spawn(self._answer(call, answer), f"link {type(message).__name__}")
        elif call > 0:
            self._send(-call, answer if answer is not None else Done())

    async def _answer(self, call: int, answer: Awaitable[Any]) -> None:
        try:
            result = await answer
        except Exception as error:
            if call == 0:
                raise
            result = Failed(str(error) or type(error).__name__)
        if call > 0 and not self.closed:
            self._send(-call, result if result is not None else Done())

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        for future in self._calls.values():
            if not future.done():
                future.set_exception(LinkClosed("the other end of the link is gone"))
                future.exception()  # an abandoned call must not log "never retrieved"
        self._calls.clear()
        self._on_close()

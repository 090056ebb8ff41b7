"""The link: how the processes talk to each other.

One socket per child (and one listening unix socket for commands) carries frames of four bytes of length (big endian)
and a msgpack pair `[call, message]`. `call` 0 is a push; n > 0 asks for an answer, which comes back as -n. Both ends
may ask. The first message of a child is `Hello`; another version of the code is refused there.
"""

import asyncio
import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

from gateway.link.messages import AnyMessage, Done, Failed
from gateway.link.pending import Pending
from gateway.tasks import spawn

_LARGEST = 64 * 1024 * 1024  # bytes in one frame; a configuration is the largest message

Handler = Callable[[Any], Any]  # a message or an awaitable of one for a call; ignored for a push

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, AnyMessage])
_length = struct.Struct(">I")
_log = logging.getLogger("tollkeeper")


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
        self._is_receiving = False
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
        if not (self._outgoing or self._is_receiving):
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
        part = self._received
        if part:
            part += data
        received, start = part or data, 0
        self._is_receiving = True
        with self._around():
            while len(received) - start >= 4:
                (length,) = _length.unpack_from(received, start)
                if length > _LARGEST:
                    raise LinkClosed(f"a frame of {length} bytes")
                end = start + 4 + length
                if len(received) < end:
                    break
                call, message = _decoder.decode(received[start + 4 : end])
                start = end
                self._receive(call, message)
        if start or not part:  # else it is kept as it is, however long it grows
            self._received = bytearray(received[start:])
        self._is_receiving = False
        self._flush()

    def _receive(self, call: int, message: Any) -> None:
        if call < 0:
            future = self._calls.pop(-call, None)
            if future is not None and not future.done():
                future.set_result(message)
            return
        try:
            answer = self._handler(message)
        except Exception as error:  # costs this answer, not the link: without it a worker must end
            _log.exception("a %s failed", type(message).__name__)
            answer = _describe(error)
        if isinstance(answer, Pending):
            answer.then(lambda result: self._reply(call, result))
        elif hasattr(answer, "__await__"):
            spawn(self._answer(call, answer), f"link {type(message).__name__}")
        else:
            self._reply(call, answer)

    async def _answer(self, call: int, answer: Awaitable[Any]) -> None:
        try:
            result = await answer
        except asyncio.CancelledError:
            if not (isinstance(answer, asyncio.Future) and answer.cancelled()):
                raise  # it is this end that is given up
            result = Failed("it was given up")
        except Exception as error:
            if call == 0:
                raise
            result = _describe(error)
        self._reply(call, result)

    def _reply(self, call: int, answer: Any) -> None:
        if call <= 0 or self.closed:
            return
        try:
            self._send(-call, answer if answer is not None else Done())
        except (TypeError, ValueError, OverflowError) as error:  # not plain data: nobody shall wait for it
            _log.exception("an answer cannot be sent")
            self._send(-call, _describe(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        for future in self._calls.values():
            if not future.done():
                future.set_exception(LinkClosed("the other end of the link is gone"))
                future.exception()  # an abandoned call must not log "never retrieved"
        self._calls.clear()
        self._on_close()


def _describe(error: BaseException) -> Failed:
    return Failed(str(error) or type(error).__name__)

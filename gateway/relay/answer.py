"""One upstream answer on its way to the client.

`feed` runs inside the upstream's data_received, without a task switch per piece. A model's whole answer is held (up to
HOLD bytes), so that a broken one still gets a status and its usage can be read; a stream of events passes through an
`EventStream`; anything else passes as it comes. The last piece is kept back until the relay says so, because the
closing journal record goes first.
"""

import time
from collections.abc import Callable

from msgspec import json

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.request import Request
from gateway.relay.chain import Chain, run_chunk
from gateway.relay.dialect.envelope import error_event
from gateway.relay.dialect.events import EventStream, watch_events
from gateway.relay.dialect.finish import find_finish
from gateway.usage import Usage, find_usage, read_usage

HOLD = 1_048_576
_TAIL = 1024
_PROGRESS = 1.0  # seconds between two progress records

Progress = Callable[[Exchange, int], None]


class Answer:
    """The sink of one upstream body. `length` is what the upstream announced, None if it did not.

    `events` is given for a stream of events, `hold` for a model's whole answer. `progress` is called about once a
    second with the tokens delivered so far, `describe` when the head is about to leave.
    """

    __slots__ = (
        "_chain", "_describe", "_hold", "_last_progress", "_length", "_now", "_parts", "_pending", "_progress",
        "_renamed", "_request", "_size", "_tail", "_usage", "events", "exchange", "said",
    )  # fmt: skip

    def __init__(
        self, exchange: Exchange, chain: Chain, length: int | None, progress: Progress,
        describe: Callable[[Exchange], None],
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self.events: EventStream | None = None
        self.said = b""  # the whole body as the upstream sent it, where it was changed
        self._chain = chain
        self._describe = describe
        self._hold = False
        self._last_progress = 0.0
        self._length = None if chain.chunk else length
        self._now = time.monotonic
        self._parts: list[bytes] = []
        self._pending = 0
        self._progress = progress
        self._renamed: tuple[tuple[bytes, bytes], ...] = ()
        self._request: Request = exchange.request
        self._size = 0
        self._tail = b""
        self._usage: Usage | None = None

    def watch(self, strip_usage: bool) -> None:
        """The body is a stream of events."""
        self.events = watch_events(self.exchange.dialect, strip_usage, self.exchange.request_id)
        self._length = None

    def rename(self, theirs: str) -> None:
        """The upstream calls the model `theirs`, where that is not empty; the client hears our name for it.

        It stands in no text of the answer: quotes inside of one are escaped.
        """
        if theirs:
            old, new = json.encode(theirs), json.encode(self.exchange.model)
            self._renamed = tuple((before + old, before + new) for before in (b'"model":', b'"model": '))
            self._length = None

    def renamed(self, data: bytes) -> bytes:
        for old, new in self._renamed:
            data = data.replace(old, new)
        return data

    def revise(self, original: bytes, body: bytes) -> None:
        """The whole body was held, and `response` hooks made `body` of it: its length is another, its usage stays."""
        self.said = original
        if self._hold:
            self._usage = read_usage(original)
        if not self._chain.chunk:
            self._length = len(body) if self._request.head.method != "HEAD" else None  # HEAD does not know what GET has

    def hold(self) -> None:
        """The body is wanted whole, as far as it is not too large."""
        self._hold = True

    def feed(self, data: bytes) -> None:
        events = self.events
        if events is not None:
            data = events.feed(data)
            if not data:
                return
        elif self._hold:
            self._parts.append(data)
            self._size += len(data)
            if self._size <= HOLD:
                return
            data, self._parts, self._hold = b"".join(self._parts), [], False
        if not events:
            self._tail = (self._tail + data[-_TAIL:])[-_TAIL:]
        self._send(data)

    def take_last(self) -> bytes:
        """The piece that was kept back; call it when the upstream's message ended as announced. Raises GatewayError.

        An event stream without any event is a failure (1710): engines answer so to a prompt that is too long.
        """
        events = self.events
        if events is not None:
            last = events.finish()
            if not last and not self.exchange.sent:
                raise GatewayError(1710)
            self.exchange.finish = find_finish(self.exchange.dialect, events.ending)
            return last
        body = b"".join(self._parts)
        self._parts = []
        self._pending = len(body)
        if self._hold:
            self._tail = body
        elif self.exchange.dialect is not None:
            self.exchange.finish = find_finish(self.exchange.dialect, self._tail)
        return body

    def close(self, last: bytes, conclude: Callable[[], None]) -> None:
        """Send the last piece and the end; `conclude` is called just before."""
        exchange, request, reply = self.exchange, self._request, self.exchange.reply
        assert reply is not None
        last = self.renamed(last)
        if exchange.content is not None and self.events is not None:
            exchange.content.hear(last)
        elif not request.started:
            reply.body = last
        if self._chain.chunk and last:
            last = run_chunk(self._chain, exchange, last)
        exchange.sent += len(last)
        if not request.started:
            self._describe(exchange)
            conclude()
            self._respond(last)
            return
        conclude()
        request.write(last)
        request.end()

    def break_off(self, error: GatewayError) -> None:
        """The upstream failed after the first byte: one error inside a stream, and never a clean end."""
        if self.events is not None and not self.events.failed:
            self._request.write(error_event(self.exchange.dialect, error, self.exchange.request_id))
        self._request.abort()

    def usage(self) -> Usage | None:
        """The engine's own figures, None where it gave none."""
        if self.events is not None:
            return self.events.usage
        if self._usage is not None:
            return self._usage
        return read_usage(self._tail) if self._hold else find_usage(self._tail)

    def delivered(self) -> int:
        """An estimate of the tokens handed to the client: events of a stream, else a quarter of the bytes."""
        if self.events is not None:
            return max(0, self.events.events)
        return (self.exchange.sent + self._pending + 3) // 4

    def _send(self, data: bytes) -> None:
        exchange = self.exchange
        data = self.renamed(data)
        if exchange.content is not None and self.events is not None:
            exchange.content.hear(data)
        if self._chain.chunk:
            data = run_chunk(self._chain, exchange, data)
        now = self._now()
        if not exchange.first_byte:
            exchange.first_byte = self._last_progress = now
            if not self._request.started:  # with comments, while it was waited for
                self._describe(exchange)
                self._begin()
        elif now - self._last_progress >= _PROGRESS:
            self._last_progress = now
            self._progress(exchange, self.delivered())
        exchange.sent += len(data)
        self._request.write(data)

    def _begin(self) -> None:
        reply = self.exchange.reply
        assert reply is not None
        lines = "".join(self.exchange.lines).encode("latin-1")
        self._request.begin(reply.status, reply.headers, self._length, lines)

    def _respond(self, body: bytes) -> None:
        """The whole answer in one piece. HEAD is told the length that GET would have."""
        reply, request = self.exchange.reply, self._request
        assert reply is not None
        if request.head.method == "HEAD":
            self._begin()
            request.end()
            return
        lines = "".join(self.exchange.lines).encode("latin-1")
        request.respond(reply.status, reply.headers, body, lines)

"""The reading half of a client connection: bytes in, checked requests in a queue."""

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserInvalidURLError, HttpParserUpgrade, HttpRequestParser

from gateway.http.body import HIGH_WATER
from gateway.http.faults import BadRequest
from gateway.http.head import Headers, RequestHead, header_names, read_head
from gateway.http.outlet import Outlet
from gateway.http.request import Request

if TYPE_CHECKING:
    from gateway.http.server import ServerLimits

_DISCARD = 65_536  # bytes of an unwanted body that are worth reading to keep a connection
_OVERHEAD = 16  # framing bytes per body byte; more than that is an attack, not a body
_UPGRADES = frozenset((b"websocket",))
_REASONS = (("Content-Length", 1203), ("Transfer-Encoding", 1203), ("header", 1204), ("HTTP version", 1209))


class Intake(Outlet):
    """Feeds llhttp and queues what comes out: a Request as soon as its head is checked, or the BadRequest that ends the
    connection. Reading pauses while a body piles up unread or many requests wait.
    """

    __slots__ = (
        "_arriving", "_body_follows", "_discarded", "_framing", "_head_size", "_headers", "_in_head", "_is_deaf",
        "_is_suspect", "_parser", "_queue", "_read_paused", "_target", "_waiter", "leftover",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: "ServerLimits") -> None:
        super().__init__(loop, limits)
        self.leftover: bytes | None = None
        self._parser = HttpRequestParser(self)
        self._queue: deque[Request | BadRequest] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._arriving: Request | None = None
        self._target = b""
        self._headers: Headers = []
        self._in_head = False
        self._head_size = 0
        self._is_suspect = False
        self._is_deaf = False
        self._body_follows = False
        self._read_paused = False
        self._discarded = 0
        self._framing = 0

    # --- what the other half does about it

    def head_begun(self) -> None:
        """A head has begun and is not complete."""
        raise NotImplementedError

    def body_progressed(self) -> None:
        """Body bytes came for a reader who waits."""
        raise NotImplementedError

    def surplus(self, data: bytes) -> None:
        """Bytes came after the last request of the connection."""
        raise NotImplementedError

    def linger(self) -> None:
        """Take no more requests; close once the client has seen the answer."""
        raise NotImplementedError

    # --- bytes

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self.surplus(data)
            return
        if len(data) > self.limits.header_bytes:
            self._is_suspect = True
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._pass_upgrade(memoryview(data)[upgrade.args[0] :])
        except HttpParserError as error:
            self._break(_explain(error))
        if self._in_head:
            self._count_head(len(data))
        elif self._arriving is not None:
            self._flow(self._arriving, len(data))
        if len(self._queue) >= self.limits.pipeline:
            self._pause_reading()

    def _pass_upgrade(self, rest: memoryview) -> None:
        """llhttp stops at every Upgrade; go on behind those that are ignored (RFC 9110, 7.8)."""
        while self.leftover is None and rest:
            try:
                if self._body_follows and self._arriving is not None:
                    self._body_follows = False
                    self._parser = _parse_body(self, self._arriving.head)
                self._parser.feed_data(rest)
                return
            except HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except HttpParserError as error:
                self._break(_explain(error))
                return
        if self.leftover is not None:
            self.leftover += rest

    def _count_head(self, received: int) -> None:
        self._is_suspect = True
        if self._head_size == 0:
            self.head_begun()
        self._head_size += received
        if self._head_size > self.limits.header_bytes:
            self._break(_too_large())

    def _flow(self, request: Request, received: int) -> None:
        """After a segment inside a body: hand it on, hold the client back, or throw it away."""
        self._framing += received
        if self._framing - request.arrived > self.limits.header_bytes + _OVERHEAD * request.arrived:
            self._break(BadRequest(1203, "The body is almost only framing."))
        elif request.is_over:
            self._discarded += request.drop()
            if self._discarded > _DISCARD:
                self.linger()
        elif request.is_waited_for:
            self.body_progressed()
        else:
            request.wake()
            if request.unread > HIGH_WATER:
                self._pause_reading()

    def _break(self, fault: BadRequest) -> None:
        """No message can follow: the reader of the present body hears of it, else the client."""
        if self._is_deaf:
            return  # bytes behind a last request
        self._is_deaf = True
        self._in_head = False
        if self._arriving is not None:
            self._arriving.break_body(fault)
        else:
            self._queue.append(fault)
            self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _pause_reading(self) -> None:
        self._read_paused = True
        self.transport.pause_reading()

    def _resume_reading(self) -> None:
        self._read_paused = False
        self.transport.resume_reading()

    # --- llhttp's callbacks

    def on_message_begin(self) -> None:
        self._in_head = True
        self._target = b""
        self._headers = []

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are dropped
            self._headers.append((header_names[name], value.rstrip()))

    def on_headers_complete(self) -> None:
        headers, parser = self._headers, self._parser
        if len(headers) > self.limits.header_count or (self._is_suspect and self._is_large()):
            raise _too_large()
        head = read_head(parser.get_method(), self._target, parser.get_http_version(), headers)
        head.keep_alive = parser.should_keep_alive()
        if parser.should_upgrade():
            self._judge_upgrade(head)
        self._in_head = False
        self._head_size = self._framing = 0
        request = Request(head, self, monotonic())  # type: ignore[arg-type]  # a Connection, by its only subclass
        self._arriving = request
        self._queue.append(request)
        self._wake()

    def _is_large(self) -> bool:
        size = len(self._target) + sum([len(name) + len(value) + 4 for name, value in self._headers])
        return size > self.limits.header_bytes

    def _judge_upgrade(self, head: RequestHead) -> None:
        token = (head.get(b"upgrade") or b"").lower()
        self._body_follows = head.chunked or bool(head.content_length)
        if token in _UPGRADES and head.method == "GET" and head.version == "1.1" and not self._body_follows:
            head.upgrade = token
            self.leftover = b""
        if head.upgrade or self._body_follows:
            head.keep_alive = False

    def on_body(self, piece: bytes) -> None:
        if self._arriving is not None:
            self._arriving.feed(piece)

    def on_message_complete(self) -> None:
        request = self._arriving
        if request is None or self._body_follows:
            return
        self._arriving = None
        self._is_deaf = not request.head.keep_alive
        request.complete = True
        request.wake()


class _Body:
    """Callbacks for the body of a request whose Upgrade is ignored: llhttp, asked the usual way, would skip it."""

    def __init__(self, intake: Intake) -> None:
        self.on_body = intake.on_body
        self.on_message_complete = intake.on_message_complete


def _parse_body(intake: Intake, head: RequestHead) -> HttpRequestParser:
    parser = HttpRequestParser(_Body(intake))
    length = b"transfer-encoding: chunked" if head.chunked else b"content-length: %d" % (head.content_length or 0)
    parser.feed_data(b"POST / HTTP/1.1\r\nconnection: close\r\n%b\r\n\r\n" % length)
    return parser


def _explain(error: HttpParserError) -> BadRequest:
    """The catalogue's number for what llhttp or one of our callbacks refused."""
    if isinstance(error.__context__, BadRequest):
        return error.__context__
    text = str(error)
    if isinstance(error, HttpParserInvalidURLError):
        return BadRequest(1205, f"The request target is not allowed: {text}.")
    number = next((number for word, number in _REASONS if word in text), 1201)
    return BadRequest(number, f"The request is not valid HTTP/1.1: {text}.")


def _too_large() -> BadRequest:
    return BadRequest(1206, "The header section is too large.")

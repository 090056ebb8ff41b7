"""One request, top to bottom: route, chain, target, answer, journal, `log`. This is the worker's handler."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Protocol

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome, Reply
from gateway.http.faults import BadRequest, ClientGone, ClientStalled
from gateway.http.request import Request
from gateway.relay.carriage import Carriage
from gateway.relay.chain import run_access, run_chunk, run_response
from gateway.relay.dialect.envelope import error_body, error_event
from gateway.relay.dialect.finish import find_finish
from gateway.relay.dialect.tokens import estimate
from gateway.relay.directions import Directions, explain_fault, no_route, open_exchange
from gateway.relay.fallback import Diverted
from gateway.relay.herald import is_awaited
from gateway.relay.route import Route
from gateway.relay.trace import find_trace

_log = logging.getLogger("tollkeeper")
_JSON = (b"content-type", b"application/json")
_ANSWERED = (Outcome.ANSWERED, Outcome.ANSWERED_FREE)
_CLIENT_CLOSED = 499  # nginx's status for a client that left; stands in traces, is never sent


class Witness(Protocol):
    """What a request leaves behind: records in the journal, counts in the metrics."""

    def opened(self, exchange: Exchange) -> None: ...
    def progressed(self, exchange: Exchange, tokens: int) -> None: ...
    def closed(self, exchange: Exchange) -> None: ...
    def refused(self, error: GatewayError) -> None: ...


class Relay:
    """Handles every request of one configuration generation. `new_id` makes internal ids."""

    def __init__(
        self, directions: Directions, carriage: Carriage, witness: Witness, generation: int, new_id: Callable[[], str]
    ) -> None:
        self._directions = directions
        self._locate = directions.locate
        self._carriage = carriage
        self._witness = witness
        self._generation = generation
        self._new_id = new_id

    async def handle(self, request: Request) -> None:
        """Answer one request. Raises only when its client has left."""
        exchange = self._open(request)
        route, allowed = self._directions.enter(exchange)
        try:
            reply = await run_access(route.chain, exchange)
            if reply is not None:
                exchange.outcome = Outcome.ANSWERED if reply.keeps_units else Outcome.ANSWERED_FREE
                await self._reply(exchange, route, reply)
            else:
                exchange.outcome = Outcome.TURNED_AWAY  # until an upstream is asked
                if allowed is not None:
                    raise no_route(exchange, allowed)
                if route.serve is not None:
                    reply = await route.serve(exchange)
                    exchange.outcome = Outcome.ANSWERED
                    await self._reply(exchange, route, reply)
                else:
                    await self._carry(exchange, route)
        except GatewayError as error:
            self._refuse(exchange, error)
        except BadRequest as fault:
            if exchange.forwarded:  # a body that was passed on as it came
                exchange.outcome = Outcome.LEFT
            self._refuse(exchange, explain_fault(fault))
        except (asyncio.CancelledError, ClientGone, ClientStalled):
            self._leave(exchange)
            raise
        except Exception:
            _log.exception("request %s failed", exchange.id)
            if not exchange.closed:
                exchange.outcome = Outcome.FAILED
            self._refuse(exchange, GatewayError(1900))
        finally:
            self._conclude(exchange)
            _run_log(route, exchange)

    async def _carry(self, exchange: Exchange, route: Route) -> None:
        """To the target; where that cannot answer, to the models that the one asked for falls back to."""
        directions, carriage = self._directions, self._carriage
        exchange.detour = detour = directions.find_detour(exchange)
        while True:
            target = directions.find_target(exchange, route)
            try:
                await carriage.carry(exchange, route, target, self._conclude)
                return
            except Diverted:
                assert detour is not None
            except GatewayError as error:
                if detour is None or (exchange.reply is not None and route.chain.response):  # its hooks may have run
                    raise
                if not detour.takes_error(exchange, error, carriage.budget):
                    raise
            detour.move(exchange)

    def refuse(self, number: int, message: str) -> bytes:
        """What the server says where no request could be read: a whole response that closes the connection."""
        error, request_id = GatewayError(number, message), self._new_id()
        self._witness.refused(error)
        body = error.body(request_id)
        headers = "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
        return (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
            f"X-Tollkeeper-Error: {number}\r\n{headers}\r\n"
        ).encode() + body

    def _open(self, request: Request) -> Exchange:
        exchange = open_exchange(request.head, request.received, self._new_id)
        exchange.request = request
        exchange.peer = self._locate(request.peer, request.head) if self._locate is not None else request.peer
        exchange.scheme = request.scheme
        exchange.generation = self._generation
        if self._directions.traces:
            exchange.trace = find_trace(request.head, exchange.id)
        return exchange

    async def _reply(self, exchange: Exchange, route: Route, reply: Reply) -> None:
        """Send an answer that was made here. Nothing of it is sent before the `response` hooks have run."""
        exchange.reply = reply
        if isinstance(reply.body, AsyncIterator) and route.chain.buffers and not reply.is_stream:
            reply.body = b"".join([piece async for piece in reply.body])
        await run_response(route.chain, exchange)
        exchange.status = reply.status
        lines = "".join(exchange.lines).encode("latin-1")
        request: Request = exchange.request
        if isinstance(reply.body, bytes):
            body = run_chunk(route.chain, exchange, reply.body)
            exchange.sent = len(body)
            if exchange.dialect is not None and reply.status < 400:
                exchange.finish = find_finish(exchange.dialect, reply.body)
            self._conclude(exchange)
            request.respond(reply.status, reply.headers, body, lines)
            return
        async for piece in reply.body:
            if exchange.content is not None:
                exchange.content.hear(piece)
            data = run_chunk(route.chain, exchange, piece)
            if not request.started:
                request.begin(reply.status, reply.headers, None, lines)
            exchange.sent += len(data)
            request.write(data)
            await request.drain()
        if not request.started:
            request.begin(reply.status, reply.headers, None, lines)
        self._conclude(exchange)
        request.end()

    def _refuse(self, exchange: Exchange, error: GatewayError) -> None:
        """Answer with the error's envelope; if an answer has begun, break it off."""
        request: Request = exchange.request
        exchange.error = error
        exchange.outcome = exchange.outcome or Outcome.REFUSED
        if exchange.outcome in _ANSWERED and not exchange.closed:
            exchange.outcome = Outcome.FAILED
        if request.started:
            self._conclude(exchange)
            if not exchange.sent and is_awaited(exchange):  # there were comments, and nothing else
                request.write(error_event(exchange.dialect, error, exchange.request_id))
            request.abort()
            return
        exchange.status = error.status
        for name, value in error.headers.items():
            exchange.set_header(name, value)
        exchange.set_header("X-Tollkeeper-Error", str(error.number))
        body = error_body(exchange.dialect, error, exchange.request_id)
        exchange.sent = len(body)
        self._conclude(exchange)
        request.respond(error.status, [_JSON], body, "".join(exchange.lines).encode("latin-1"))

    def _leave(self, exchange: Exchange) -> None:
        """The client is not there any more, or does not read."""
        if exchange.closed:
            return  # what is written stays true
        if not exchange.request.started:
            exchange.status = _CLIENT_CLOSED
        if exchange.request.stalled:
            exchange.error = GatewayError(1809)
        if exchange.forwarded or exchange.sent:
            exchange.outcome = Outcome.LEFT
            if exchange.forwarded and exchange.tokens.source == "none":
                estimate(exchange, 0)
        else:
            exchange.outcome = Outcome.LEFT_WAITING

    def _conclude(self, exchange: Exchange) -> None:
        """Write the closing record, once: before the last bytes leave."""
        if not exchange.closed:
            exchange.closed = True
            self._witness.closed(exchange)


def _run_log(route: Route, exchange: Exchange) -> None:
    """Each hook on its own: what one plugin took is given back even if another one fails."""
    for hook in route.chain.log:
        try:
            hook(exchange)
        except Exception:
            _log.exception("a log hook failed on request %s", exchange.id)

"""Carrying a request to its target and the answer back to the client."""

import asyncio
import math
import time
from collections.abc import Callable

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome, Reply
from gateway.http.deadline import Sweeper
from gateway.http.faults import ClientGone, ClientStalled, Truncated, UpstreamError
from gateway.http.head import ResponseHead, response_headers
from gateway.http.tunnel import splice
from gateway.relay.answer import HOLD, Answer, Progress
from gateway.relay.chain import run_response
from gateway.relay.dialect.finish import find_finish
from gateway.relay.dialect.rejection import Rejection, read_fault
from gateway.relay.dialect.tokens import ask_for_usage, count_tokens, estimate
from gateway.relay.fallback import Diverted
from gateway.relay.fitting import find_other_name
from gateway.relay.forward import Forwarder, Passage
from gateway.relay.headers import describe
from gateway.relay.herald import STREAM_LINES
from gateway.relay.places import Places
from gateway.relay.reading import even_out, is_error, is_held, is_stream, is_whole
from gateway.relay.route import Route
from gateway.relay.shedding import Shedding
from gateway.relay.target import Target, blame_failure, explain_failure
from gateway.settings.schema import Config
from gateway.usage import Usage, read_usage

_BLAME_BYTES = 4096
Conclude = Callable[[Exchange], None]


class Carriage:
    """What a worker needs to carry requests."""

    def __init__(
        self, forwarder: Forwarder, places: Places, sweeper: Sweeper, config: Config, progress: Progress
    ) -> None:
        self._forwarder = forwarder
        self.budget = forwarder.budget
        self._sweeper = sweeper
        self._places = places
        self._headers = config.headers
        self._answer_limit = config.limits.answer
        self._progress = progress
        self._now = time.monotonic
        self._running: dict[Exchange, asyncio.Task[None] | None] = {}  # requests whose answer is not over; no tunnels
        self._is_ending = False
        self.shedding = Shedding(config.limits.lag, config.tiers, self._running)

    @property
    def is_idle(self) -> bool:
        return not self.budget.live

    def break_off(self) -> None:
        """The worker ends now: every request that is still under way is told so (1901), in its stream if it has one."""
        self._is_ending = True
        for task in self._running.values():
            if task is not None:
                task.cancel()

    async def carry(self, exchange: Exchange, route: Route, target: Target, conclude: Conclude) -> None:
        """Relay one request. Raises GatewayError while an answer is still possible, with the outcome set.

        `conclude` is called before the last bytes leave.
        """
        if self._is_ending:  # who has waited for something else until now comes too late
            raise GatewayError(1901, headers={"Retry-After": "1"})
        self.shedding.check(exchange)
        if exchange.dialect is not None and exchange.dialect.asks_usage and exchange.fields is not None:
            ask_for_usage(exchange, target.backend.reports_usage)
        passage = self._forwarder.passage(exchange, target)
        self.budget.enter()
        self._running[exchange] = asyncio.current_task()
        try:
            head = await self._forwarder.send(passage, route)
            assert exchange.upstream is not None and passage.connection is not None
            exchange.upstream.status = head.status
            exchange.reply = Reply(head.status, response_headers(head))
            if not exchange.request.started:  # with comments, while it waited
                exchange.status = head.status
            exchange.outcome = Outcome.UPSTREAM_FAILED  # until its answer is judged
            if head.status == 101:
                await self._tunnel(exchange, route, passage, conclude)
            elif route.chain.leaves_answers and is_whole(exchange, passage.connection, head, target.backend):
                self._hand_on(exchange, passage, conclude)
            else:
                await self._relay(exchange, route, passage, head, conclude)
        except asyncio.CancelledError:
            if not self._is_broken_off(exchange):
                raise
            if exchange.forwarded:
                estimate(exchange, 0)
            raise GatewayError(1901, headers={"Retry-After": "1"}) from None
        finally:
            self._running.pop(exchange, None)
            self.budget.leave()
            passage.finish()

    def _hand_on(self, exchange: Exchange, passage: Passage, conclude: Conclude) -> None:
        """An answer that came in one piece, and that no plugin wants to see: most are."""
        connection, reply = passage.connection, exchange.reply
        assert connection is not None and reply is not None
        body = reply.body = connection.body()
        exchange.answered = self._now()
        exchange.sent = len(body)
        usage = read_usage(body) if exchange.dialect is not None else None
        self._judge(exchange, passage, usage, (len(body) + 3) // 4, body)
        self._describe(exchange)
        conclude(exchange)
        lines = "".join(exchange.lines).encode("latin-1")
        exchange.request.respond(reply.status, reply.headers, body, lines)

    async def _relay(
        self, exchange: Exchange, route: Route, passage: Passage, head: ResponseHead, conclude: Conclude
    ) -> None:
        answer = self._prepare(exchange, route, head)
        answer.rename(find_other_name(exchange, passage.target.backend))
        try:
            last = await self._take(exchange, route, passage, answer)
        except UpstreamError as error:
            died = await self._places.find_death(passage.target.name, passage.load, error.kind, exchange)
            failure = explain_failure(exchange, error, died)
            self._forwarder.report(passage, blame_failure(error))
            if not exchange.first_byte:
                raise failure from None
            self._give_up(exchange, answer, failure, conclude)
            return
        except (asyncio.CancelledError, ClientGone, ClientStalled) as gone:
            if exchange.first_byte:
                count_tokens(exchange, answer.usage(), answer.delivered())
            if not (exchange.first_byte and isinstance(gone, asyncio.CancelledError) and self._is_broken_off(exchange)):
                raise
            self._give_up(exchange, answer, GatewayError(1901), conclude)
            return
        exchange.answered = self._now()
        self._judge(exchange, passage, answer.usage(), answer.delivered(), answer.said or last)
        if answer.events is not None and answer.events.failed:
            exchange.outcome = Outcome.BROKEN
            exchange.error = GatewayError(1705)
        answer.close(last, lambda: conclude(exchange))

    def _is_broken_off(self, exchange: Exchange) -> bool:
        """Whether `break_off` is why the request was cancelled; then its task lives on, to say so."""
        task = self._running.get(exchange)
        if not self._is_ending or exchange.request.connection.gone or task is None:
            return False
        task.uncancel()
        if exchange.forwarded:
            exchange.outcome = Outcome.WORKER_LOST
        return True

    def _give_up(self, exchange: Exchange, answer: Answer, error: GatewayError, conclude: Conclude) -> None:
        """Break off an answer that has begun."""
        exchange.error = error
        count_tokens(exchange, answer.usage(), answer.delivered())
        conclude(exchange)
        answer.break_off(error)

    def _prepare(self, exchange: Exchange, route: Route, head: ResponseHead) -> Answer:
        announced = head.get(b"content-length")
        length = int(announced) if announced is not None else None
        answer = Answer(exchange, route.chain, length, self._progress, self._describe)
        if is_stream(exchange, head):
            answer.watch(strip_usage=exchange.stream and not exchange.client_wants_usage)
            exchange.lines.append(STREAM_LINES)
        elif exchange.method != "HEAD" and (head.status >= 500 or is_held(exchange, head)):
            answer.hold()
        return answer

    async def _take(self, exchange: Exchange, route: Route, passage: Passage, answer: Answer) -> bytes:
        """Hand the body on as it comes and return its last piece. Raises UpstreamError if it breaks."""
        connection, request, reply, chain = passage.connection, exchange.request, exchange.reply, route.chain
        assert connection is not None and reply is not None
        failed = is_error(exchange, reply.status)
        is_late = request.started  # with comments, while it waited
        if is_late and not failed and answer.events is None:
            raise GatewayError(1703, "The model server answered a request for a stream with something else.")
        holds = failed or (chain.buffers and not reply.is_stream)
        if holds:
            original = await connection.collect(HOLD if failed else self._answer_limit)
            reply.body = answer.renamed(original)
            if failed:
                backend, detour = passage.target.backend, exchange.detour
                if detour is not None and detour.takes_answer(exchange, backend, original, self.budget):
                    self._judge(exchange, passage, None, 0, original)
                    raise Diverted
                if is_late:
                    self._judge(exchange, passage, None, 0, original)
                    raise Rejection(read_fault(reply.status, original))
                even_out(exchange, reply, original)
        if chain.response and not is_late:
            await run_response(chain, exchange, Outcome.COMPLETE)  # it was the upstream's work, even if it is refused
            exchange.status = reply.status
        data = reply.body if holds else connection.body()
        assert isinstance(data, bytes)
        if holds:
            answer.revise(original, data)
        if data:
            answer.feed(data)
        if not connection.complete:
            request.on_pause, request.on_resume = connection.pause, connection.resume
            if request.paused:
                connection.pause()
            await connection.pipe(answer.feed)
        last = answer.take_last()
        if answer.events is not None and answer.events.is_cut:
            raise Truncated("the stream ended without saying that it is over", got=True)
        return last

    def _judge(self, exchange: Exchange, passage: Passage, usage: Usage | None, delivered: int, body: bytes) -> None:
        """Outcome, tokens and blame of an answer that came whole (outcomes table)."""
        assert exchange.upstream is not None
        status, target = exchange.upstream.status, passage.target
        if status >= 500:
            exchange.outcome = Outcome.UPSTREAM_FAILED
            self._forwarder.report(passage, target.backend.blame(status, body[:_BLAME_BYTES]))
            return
        self._places.clear(target.name, passage.url)
        if status >= 400:
            exchange.outcome = Outcome.UPSTREAM_REJECTED
            if usage is not None:
                count_tokens(exchange, usage, 0)
            return
        exchange.outcome = Outcome.COMPLETE
        if exchange.dialect is not None:
            count_tokens(exchange, usage, delivered)
            exchange.finish = exchange.finish or find_finish(exchange.dialect, body)

    def _describe(self, exchange: Exchange) -> None:
        describe(exchange, self._headers, self._now())

    async def _tunnel(self, exchange: Exchange, route: Route, passage: Passage, conclude: Conclude) -> None:
        """An upgraded connection (RFC 9110, 7.8): bytes both ways until one end closes."""
        request, reply, connection = exchange.request, exchange.reply, passage.connection
        assert reply is not None and connection is not None
        self._describe(exchange)
        own = [tuple(line.strip().encode("latin-1").split(b": ", 1)) for line in "".join(exchange.lines).splitlines()]
        upgrade = [(b"connection", b"upgrade"), (b"upgrade", request.head.upgrade or b"")]
        request.inform(101, [*upgrade, *reply.headers, *own])
        exchange.first_byte = self._now()
        connection.total_deadline = math.inf
        del self._running[exchange]  # the server says goodbye to tunnels
        end = await splice(request.upgrade(), connection, self._sweeper, route.idle)
        exchange.sent = end.to_client
        exchange.outcome = Outcome.COMPLETE
        conclude(exchange)

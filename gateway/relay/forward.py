"""Sending a request to its target and bringing back the head of an answer, within the rules of retry."""

from collections.abc import Callable

from gateway.backend import Blame
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome, Upstream
from gateway.http.client import UpstreamConnection
from gateway.http.faults import UpstreamError
from gateway.http.head import ResponseHead
from gateway.http.pool import Pool
from gateway.link import Observation
from gateway.relay.balance import PENALTY, Candidate, RetryBudget
from gateway.relay.body import body_limit, forwarded_body
from gateway.relay.places import Places
from gateway.relay.route import Route
from gateway.relay.target import Target, blame_failure, explain_failure, no_endpoint

_BODILESS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))


class Passage:
    """One request's way through a target: the connection, the slot or endpoint it holds, and how often it was tried.

    `finish` gives all of it back; it must run however the request ends.
    """

    __slots__ = (
        "_places", "_pool", "candidate", "connection", "exchange", "is_spent", "is_trial", "load", "slotted", "target",
        "tried", "url",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, target: Target, places: Places, pool: Pool) -> None:
        self.exchange = exchange
        self.target = target
        self.candidate: Candidate | None = None
        self.connection: UpstreamConnection | None = None
        self.is_spent = False  # the body went on as it came: there is none to be sent again
        self.is_trial = False  # of an endpoint that has been left alone
        self.load = ""
        self.slotted = False
        self.tried: set[str] = set()
        self.url = ""
        self._places = places
        self._pool = pool

    def move(self, candidate: Candidate) -> None:
        """Count the request at this endpoint, and at no other."""
        if self.candidate is not None:
            self.candidate.inflight -= 1
        candidate.inflight += 1
        self.candidate = candidate
        self.url = candidate.url

    def abandon(self) -> None:
        """Break the connection, so that the upstream stops working for nobody."""
        if self.connection is not None:
            self.connection.abort()
            self.connection = None

    def finish(self) -> None:
        connection, self.connection = self.connection, None
        done = connection is not None and connection.complete
        if connection is not None:
            if done:
                self._pool.give(connection)
            else:
                connection.abort()
        if self.candidate is not None:
            self.candidate.inflight -= 1
            self.candidate = None
        if self.slotted:
            self.slotted = False
            self._places.guests.discard(self)
            works_on = self.target.backend.generates_after_leave and not self.exchange.stream
            lingers = works_on and connection is not None and not done
            self._places.release(self.exchange, self.target.name, progress=done, lingers=lingers)


class Forwarder:
    """Sends requests upstream. `opened` is called when a backend is about to be contacted."""

    def __init__(
        self, pool: Pool, places: Places, connect_timeout: float, opened: Callable[[Exchange], None],
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._pool = pool
        self._places = places
        self._connect_timeout = connect_timeout
        self._opened = opened
        self._now = now
        self.budget = RetryBudget(now)

    def passage(self, exchange: Exchange, target: Target) -> Passage:
        attempts = exchange.upstream.attempts if exchange.upstream is not None else 0  # at another model's servers
        exchange.upstream = Upstream(target.name, target.provider)
        exchange.upstream.attempts = attempts
        return Passage(exchange, target, self._places, self._pool)

    async def send(self, passage: Passage, route: Route) -> ResponseHead:
        """The head of the answer that is to be relayed. Raises GatewayError with the exchange's outcome set."""
        retrying, places, name = False, self._places, passage.target.name
        if not passage.target.candidates:
            await self._take_slot(passage, route)
        try:
            while True:
                trial = await places.find_trial(name, passage.tried) if places.trials else None
                self._choose(passage, trial)
                answer = await self._try(passage, route)
                has_failed = isinstance(answer, GatewayError)
                was_sent = not has_failed or passage.exchange.outcome is not Outcome.NOT_REACHED
                if (
                    (has_failed or answer.status >= 500) and (route.retry or not was_sent) and self._may_go_on(passage)
                    and (self.budget.pay if retrying else self.budget.take)(was_sent)
                ):  # fmt: skip
                    retrying = True
                    if not has_failed:  # else it is told already; nobody will read the body of this one
                        self.report(passage, passage.target.backend.blame(answer.status, b""))
                    passage.abandon()
                elif isinstance(answer, GatewayError):
                    raise answer
                else:
                    return answer
        finally:
            if retrying:
                self.budget.give()

    async def _try(self, passage: Passage, route: Route) -> ResponseHead | GatewayError:
        """What came of one endpoint; it is noted, and told where it is the endpoint's fault."""
        exchange, started = passage.exchange, self._now()
        try:
            head = await self._attempt(passage, route)
        except UpstreamError as error:
            self._note(passage, started, is_good=False)
            load = passage.load if error.sent else ""
            died = await self._places.find_death(passage.target.name, load, error.kind, exchange)
            self.report(passage, blame_failure(error), was_asked=error.sent)
            return explain_failure(exchange, error, died)
        self._note(passage, started, is_good=head.status < 500)
        return head

    def _note(self, passage: Passage, started: float, is_good: bool) -> None:
        """How an endpoint did; if it was a trial that went well, the supervisor waits to hear of it."""
        candidate = passage.candidate
        if candidate is None:
            return
        if passage.target.learns:
            now = self._now()
            candidate.learn(now - started if is_good else max(now - started, PENALTY), now)
        if is_good:
            candidate.good += 1
            if passage.is_trial:
                self._places.report(Observation(passage.target.name, passage.url, True, trial=True))

    def report(self, passage: Passage, blame: Blame, was_asked: bool = True) -> None:
        """Tell the supervisor of a failure that is, or may be, the endpoint's."""
        candidate, exchange = passage.candidate, passage.exchange
        if candidate is not None and blame is not Blame.CLIENT:
            credential = exchange.credential
            who = credential.consumer if credential is not None else exchange.peer
            good, candidate.good = candidate.good, 0
            name, was_asked = passage.target.name, was_asked and not exchange.first_byte
            seen = Observation(name, passage.url, False, blame.value, who, good, passage.is_trial, was_asked)
            self._places.report(seen)

    async def _take_slot(self, passage: Passage, route: Route) -> None:
        self._places.check_body(passage.exchange, passage.target.name, self._now())
        passage.slotted = True
        self._places.guests.add(passage)
        slot = await self._places.acquire(passage.exchange, passage.target.name, route)
        passage.url, passage.load = slot.url, slot.load
        passage.target.learn_key(slot.url, slot.key)

    def _choose(self, passage: Passage, trial: str | None) -> None:
        """Decide for an endpoint, `trial` if it is given; a slot is where it is. Raises GatewayError 1706."""
        target, upstream = passage.target, passage.exchange.upstream
        if target.candidates:
            passage.is_trial = trial is not None
            passage.move(self._pick(passage) if trial is None else target.candidate(trial))
        assert upstream is not None
        upstream.endpoint = passage.url
        upstream.load = passage.load

    def _pick(self, passage: Passage) -> Candidate:
        target, down = passage.target, self._places.down_of(passage.target.name)
        candidate = target.pick(passage.exchange, down, passage.tried)
        if candidate is None:
            raise no_endpoint(target, self._places.wait_of(target.name, self._now()))
        return candidate

    def _may_go_on(self, passage: Passage) -> bool:
        """Is there an endpoint that was not tried, and a body that can be sent again?"""
        passage.tried.add(passage.url)
        down = self._places.down_of(passage.target.name)
        is_whole = passage.exchange.request.complete and not passage.is_spent
        return is_whole and any(c.url not in passage.tried and c.url not in down for c in passage.target.candidates)

    async def _attempt(self, passage: Passage, route: Route) -> ResponseHead:
        """One endpoint. A kept connection that dies without a byte says nothing of the request: once more, afresh."""
        exchange = passage.exchange
        origin = passage.target.origin(passage.url)
        kept = self._pool.take(origin) if exchange.request.complete and exchange.upload is None else None
        if kept is not None:
            passage.connection = kept
            try:
                return await self._ask(passage, route)
            except UpstreamError as error:
                passage.abandon()
                if error.kind != "reset" or error.got:
                    raise
                if await self._places.find_death(passage.target.name, passage.load, error.kind):
                    raise
        started = self._now()
        passage.connection = await self._pool.connect(origin, self._connect_timeout)
        exchange.connect += self._now() - started
        return await self._ask(passage, route)

    async def _ask(self, passage: Passage, route: Route) -> ResponseHead:
        exchange, connection = passage.exchange, passage.connection
        assert connection is not None and exchange.upstream is not None
        connection.first_byte_timeout = route.first_byte
        connection.idle_timeout = route.idle
        connection.total_deadline = exchange.received + route.total
        exchange.upstream.attempts += 1
        if not exchange.forwarded or exchange.record.backend != passage.target.name:
            self._opened(exchange)
        exchange.forwarded = self._now()
        target, request = passage.target, exchange.request
        if exchange.body is None and exchange.fields is None:  # nobody has read it
            if exchange.upload is not None or not request.complete:
                await self._stream(passage, route)
                return await connection.response()
            exchange.body = await request.read(body_limit(exchange, route.body))
        body = forwarded_body(exchange)
        framing = b"content-length: %d\r\n" % len(body) if body or exchange.method not in _BODILESS else b""
        connection.send(target.request_head(exchange, passage.url, route.strip, framing) + body)
        return await connection.response()

    async def _stream(self, passage: Passage, route: Route) -> None:
        """A body that goes on as it comes: such a request cannot be sent again."""
        exchange, connection = passage.exchange, passage.connection
        assert connection is not None
        passage.is_spent = True
        upload, length = exchange.upload, exchange.request.head.content_length
        if upload is not None and length is not None:
            length += upload.growth
        framing = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        connection.send(passage.target.request_head(exchange, passage.url, route.strip, framing))
        chunks = exchange.request.chunks(body_limit(exchange, route.body)) if upload is None else upload.chunks()
        await connection.send_chunks(chunks, framed=length is None)

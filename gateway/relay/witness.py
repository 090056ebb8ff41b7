"""What a request leaves behind in a worker: records in the journal, numbers on the board."""

import time
from collections.abc import Callable

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome, Reserved
from gateway.journal import Closed, Journal, Opened, Progress
from gateway.price import price_tokens
from gateway.relay.dialect.tokens import estimate_prompt
from gateway.relay.marks import find_user, read_session, tags
from gateway.relay.tally import Tally
from gateway.relay.trace import Trace

_NOBODY = ("", "", "", "")
_UNTRACED = Trace("", "")
_LEFT = (Outcome.LEFT, Outcome.LEFT_WAITING)


class Witness:
    """Writes an open record when an upstream is contacted, progress about once a second, and one closing record."""

    def __init__(self, journal: Journal, tally: Tally, now: Callable[[], float]) -> None:
        self._write = journal.write
        self._tally = tally
        self._now = now
        self._offset = time.time_ns() // 1000 - int(now() * 1e6)  # unix microseconds of monotonic 0

    def opened(self, exchange: Exchange) -> None:
        """A backend is about to be contacted; another one than before, where a request falls back."""
        if exchange.record is not None:
            self._move(exchange)
            return
        exchange.record = record = self._open(exchange)
        record.prompt_estimate = estimate_prompt(exchange)
        self._write(record)
        self._tally.open(record.backend)

    def _move(self, exchange: Exchange) -> None:
        record, backend = exchange.record, exchange.upstream.backend if exchange.upstream is not None else ""
        self._tally.leave(record.backend)
        self._tally.open(backend)
        record.backend = backend
        record.provider = exchange.upstream.provider if exchange.upstream is not None else ""

    def progressed(self, exchange: Exchange, tokens: int) -> None:
        self._write(Progress(exchange.id, exchange.sent, tokens))

    def closed(self, exchange: Exchange) -> None:
        now = self._now()
        received, tokens, outcome = exchange.received, exchange.tokens, exchange.outcome
        exchange.money = _price(exchange)
        assert outcome is not None
        first = exchange.first_byte or exchange.answered
        end = exchange.answered or now
        away = end - exchange.forwarded if exchange.forwarded else 0.0
        waited = exchange.queued + exchange.loading + exchange.connect
        overhead = max(0.0, now - received - waited - away)
        upstream = exchange.upstream
        status, retries, death = (
            (upstream.status, max(0, upstream.attempts - 1), upstream.death) if upstream else (0, 0, "")
        )
        record = Closed(
            self._reopen(exchange), self._offset + int(now * 1e6), exchange.status, outcome.label,
            exchange.error.number if exchange.error is not None else 0,
            "client" if outcome in _LEFT else death,
            exchange.rule,
            exchange.units if outcome.keeps_units else 0,
            tokens.prompt, tokens.completion, tokens.cached, tokens.source, status, retries,
            len(exchange.body) if exchange.body is not None else 0,
            exchange.sent,
            int(exchange.queued * 1e6), int(exchange.loading * 1e6), int(exchange.connect * 1e6),
            int((first - received) * 1e6) if first else 0,
            int((end - first) * 1e6) if first else 0,
            int(overhead * 1e6),
            int((now - received) * 1e6),
            exchange.money, exchange.cache, _kept(exchange), exchange.finish,
        )  # fmt: skip
        if exchange.content is not None and (content := exchange.content.record(exchange)) is not None:
            self._write(content)
        self._write(record)
        self._tally.close(exchange, now, first, overhead)

    def refused(self, error: GatewayError) -> None:
        """What came was no request yet: it is counted, and leaves no record."""
        self._tally.refuse(error)

    def _reopen(self, exchange: Exchange) -> Opened:
        """The open record once more; a retry may have gone elsewhere."""
        record, upstream = exchange.record, exchange.upstream
        if record is None or upstream is None:
            return self._open(exchange)
        record.model = exchange.model
        if record.backend == upstream.backend:
            record.endpoint, record.load = upstream.endpoint, upstream.load
        opened: Opened = record
        return opened

    def _open(self, exchange: Exchange) -> Opened:
        credential, upstream = exchange.credential, exchange.upstream
        who, project, key, role = (
            (credential.consumer, credential.project, credential.id, credential.role) if credential else _NOBODY
        )
        backend, endpoint, load = (upstream.backend, upstream.endpoint, upstream.load) if upstream else _NOBODY[:3]
        price = exchange.entry.price if exchange.entry is not None else None
        get, dialect, trace = exchange.head.get, exchange.dialect, exchange.trace or _UNTRACED
        session, tagged = get(b"x-session-id"), get(b"x-tollkeeper-tags")
        return Opened(
            exchange.id, self._offset + int(exchange.received * 1e6), exchange.method, exchange.path, exchange.peer,
            exchange.request_id, exchange.generation, exchange.route, who, exchange.tier, project, key,
            exchange.model_asked, exchange.model, backend, endpoint, load, exchange.stream, exchange.month[0],
            exchange.month[1], exchange.units, 0, role, price.text if price is not None else "", exchange.charges,
            dialect.name if dialect is not None else "", upstream.provider if upstream is not None else "",
            read_session(session) if session else "", find_user(exchange), tags[tagged] if tagged else "",
            trace.id, trace.span, trace.parent,
        )  # fmt: skip


def _price(exchange: Exchange) -> int | None:
    """What the tokens cost, as far as a price is known."""
    price = exchange.entry.price if exchange.entry is not None else None
    tokens = exchange.tokens
    return None if price is None else price_tokens(price, tokens.prompt, tokens.completion, tokens.cached)


def _kept(exchange: Exchange) -> tuple[Reserved, ...]:
    """What stays charged of the month's other counters."""
    return tuple([(key, unit, exchange.used(unit, reserved)) for key, unit, reserved in exchange.charges])

"""What a request leaves behind in a worker: records in the journal, numbers on the board."""

import time
from collections.abc import Callable

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome
from gateway.journal import Closed, Journal, Opened, Progress
from gateway.relay.dialect import estimate_prompt
from gateway.relay.tally import Tally

_NOBODY = ("", "", "")
_LEFT = (Outcome.LEFT, Outcome.LEFT_WAITING)


class Witness:
    """Writes an open record when an upstream is contacted, progress about once a second, and one closing record."""

    def __init__(self, journal: Journal, tally: Tally, now: Callable[[], float]) -> None:
        self._write = journal.write
        self._tally = tally
        self._now = now
        self._offset = time.time_ns() // 1000 - int(now() * 1e6)  # unix microseconds of monotonic 0

    def opened(self, exchange: Exchange) -> None:
        exchange.record = record = self._open(exchange)
        record.prompt_estimate = estimate_prompt(exchange)
        self._write(record)
        self._tally.open(record.backend)

    def progressed(self, exchange: Exchange, tokens: int) -> None:
        self._write(Progress(exchange.id, exchange.sent, tokens))

    def closed(self, exchange: Exchange) -> None:
        now = self._now()
        received, tokens, outcome = exchange.received, exchange.tokens, exchange.outcome
        assert outcome is not None
        first = exchange.first_byte or exchange.answered
        end = exchange.answered or now
        away = end - exchange.forwarded if exchange.forwarded else 0.0
        waited = exchange.queued + exchange.loading + exchange.connect
        overhead = max(0.0, now - received - waited - away)
        status, retries = (
            (upstream.status, max(0, upstream.attempts - 1)) if (upstream := exchange.upstream) else (0, 0)
        )
        self._write(
            Closed(
                self._reopen(exchange),
                self._offset + int(now * 1e6),
                exchange.status,
                outcome.label,
                exchange.error.number if exchange.error is not None else 0,
                "client" if outcome in _LEFT else "",
                exchange.rule,
                exchange.units if outcome.keeps_units else 0,
                tokens.prompt,
                tokens.completion,
                tokens.cached,
                tokens.source,
                status,
                retries,
                len(exchange.body) if exchange.body is not None else 0,
                exchange.sent,
                int(exchange.queued * 1e6),
                int(exchange.loading * 1e6),
                int(exchange.connect * 1e6),
                int((first - received) * 1e6) if first else 0,
                int((end - first) * 1e6) if first else 0,
                int(overhead * 1e6),
                int((now - received) * 1e6),
            )
        )
        self._tally.close(exchange, now, first, overhead)

    def refused(self, error: GatewayError) -> None:
        """What came was no request yet: it is counted, and leaves no record."""
        self._tally.refuse(error)

    def _reopen(self, exchange: Exchange) -> Opened:
        """The open record once more; a retry may have gone elsewhere."""
        record, upstream = exchange.record, exchange.upstream
        if record is None or upstream is None:
            return self._open(exchange)
        record.endpoint, record.load = upstream.endpoint, upstream.load
        opened: Opened = record
        return opened

    def _open(self, exchange: Exchange) -> Opened:
        credential, upstream = exchange.credential, exchange.upstream
        who, project, key = (credential.consumer, credential.project, credential.id) if credential else _NOBODY
        backend, endpoint, load = (upstream.backend, upstream.endpoint, upstream.load) if upstream else _NOBODY
        return Opened(
            exchange.id, self._offset + int(exchange.received * 1e6), exchange.method, exchange.path, exchange.peer,
            exchange.request_id, exchange.generation, exchange.route, who, exchange.tier, project, key,
            exchange.model_asked, exchange.model, backend, endpoint, load, exchange.stream, exchange.month[0],
            exchange.month[1], exchange.units,
        )  # fmt: skip

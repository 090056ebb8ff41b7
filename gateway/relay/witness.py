"""What a request leaves behind in a worker: records in the journal and counts in shared memory."""

import time
from collections.abc import Callable
from typing import NamedTuple

from gateway.exchange import Exchange
from gateway.journal import Closed, Journal, Opened, Progress
from gateway.metrics import Board
from gateway.relay.dialect import estimate_prompt
from gateway.relay.registry import Registry

_NOBODY = ("", "", "")
_REMEMBERED = 4096


class Witness:
    """Writes an open record when an upstream is contacted, progress about once a second, and one closing record."""

    def __init__(self, journal: Journal, board: Board, registry: Registry, now: Callable[[], float]) -> None:
        self._journal = journal
        self._board = board
        self._registry = registry
        self._now = now
        self._offset = time.time_ns() // 1000 - int(now() * 1e6)  # unix microseconds of monotonic 0
        self._series: dict[tuple[str, str, str, int], _Series] = {}
        self._overhead = board.index("overhead_seconds")

    def opened(self, exchange: Exchange) -> None:
        record = self._open(exchange)
        record.prompt_estimate = estimate_prompt(exchange)
        self._journal.write(record)
        assert exchange.upstream is not None
        self._board.add(self._board.index("inflight", exchange.upstream.backend))

    def progressed(self, exchange: Exchange, tokens: int) -> None:
        self._journal.write(Progress(exchange.id, exchange.sent, tokens))

    def closed(self, exchange: Exchange) -> None:
        now = self._now()
        upstream, tokens, outcome = exchange.upstream, exchange.tokens, exchange.outcome
        assert outcome is not None
        first = exchange.first_byte or exchange.answered
        end = exchange.answered or now
        away = end - exchange.forwarded if exchange.forwarded else 0.0
        overhead = max(0.0, now - exchange.received - exchange.queued - exchange.loading - exchange.connect - away)
        self._journal.write(
            Closed(
                self._open(exchange),
                self._offset + int(now * 1e6),
                exchange.status,
                outcome.value,
                exchange.error.number if exchange.error is not None else 0,
                "client" if exchange.status == 499 else "",
                exchange.rule,
                exchange.units if outcome.keeps_units else 0,
                tokens.prompt,
                tokens.completion,
                tokens.cached,
                tokens.source,
                upstream.status if upstream is not None else 0,
                max(0, upstream.attempts - 1) if upstream is not None else 0,
                len(exchange.body) if exchange.body is not None else 0,
                exchange.sent,
                int(exchange.queued * 1e6),
                int(exchange.loading * 1e6),
                int(exchange.connect * 1e6),
                int((first - exchange.received) * 1e6) if first else 0,
                int((end - first) * 1e6) if first else 0,
                int(overhead * 1e6),
                int((now - exchange.received) * 1e6),
            )
        )
        self._count(exchange, now, first, overhead)

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

    def _count(self, exchange: Exchange, now: float, first: float, overhead: float) -> None:
        board, upstream, tokens, error = self._board, exchange.upstream, exchange.tokens, exchange.error
        key = (exchange.route, exchange.model, exchange.tier, exchange.status // 100)
        series = self._series.get(key)
        if series is None:
            series = self._make_series(key)
        board.add(series.requests)
        board.observe(series.seconds, now - exchange.received)
        board.observe(self._overhead, overhead)
        if upstream is not None and exchange.forwarded:
            board.add(board.index("inflight", upstream.backend), -1.0)
            away = (exchange.answered or now) - exchange.forwarded
            board.observe(board.index("upstream_seconds", upstream.backend), away)
            if first:
                board.observe(board.index("first_token_seconds", series.label), first - exchange.received)
        if tokens.source != "none":
            board.add(board.index("tokens_total", series.label, exchange.tier, "prompt"), tokens.prompt)
            board.add(board.index("tokens_total", series.label, exchange.tier, "completion"), tokens.completion)
        if error is not None:
            if upstream is not None and 1700 <= error.number < 1900:
                board.add(board.index("upstream_errors_total", upstream.backend, error.entry.code))
            elif error.number < 1600:
                board.add(board.index("rejected_total", exchange.rule, error.entry.code))

    def _make_series(self, key: tuple[str, str, str, int]) -> "_Series":
        """The series of a request's labels. A model's is a name of the configuration, never one made up outside."""
        route, model, tier, status = key
        entry = self._registry.find(model) if model else None
        label = entry.label if entry is not None else ""
        requests = self._board.index("requests_total", route, label, tier, f"{status}xx")
        if len(self._series) >= _REMEMBERED:
            self._series.clear()
        series = self._series[key] = _Series(requests, self._board.index("request_seconds", route, label), label)
        return series


class _Series(NamedTuple):
    requests: int
    seconds: int
    label: str

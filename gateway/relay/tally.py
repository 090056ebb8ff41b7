"""A request in numbers: what /metrics counts of it."""

from typing import NamedTuple

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.metrics import Board
from gateway.relay.registry import Registry

_REMEMBERED = 4096

_Key = tuple[str, str, str, int, str]  # route, model, tier, class of status, backend


class _Series(NamedTuple):
    """The places of one kind of request on the board."""

    requests: int
    seconds: int
    inflight: int
    upstream: int
    first_token: int
    prompt: int
    completion: int


class Tally:
    """Counts on a worker's board. Labels are names of the configuration, never ones that a client made up."""

    def __init__(self, board: Board, registry: Registry) -> None:
        self._board = board
        self._slots = board.slots
        self._observe = board.observe
        self._registry = registry
        self._series: dict[_Key, _Series] = {}
        self._inflight: dict[str, int] = {}
        self._overhead = board.index("overhead_seconds")

    def open(self, backend: str) -> None:
        """A request is at a backend."""
        place = self._inflight.get(backend)
        if place is None:
            place = self._inflight[backend] = self._board.index("inflight", backend)
        self._board.add(place)

    def leave(self, backend: str) -> None:
        """A request is no longer at a backend that it was at, though it is not over."""
        self._board.add(self._inflight[backend], -1.0)

    def close(self, exchange: Exchange, now: float, first: float, overhead: float) -> None:
        """The request is over. `first` is the moment of the first byte, 0 for none; `overhead` seconds of ours."""
        upstream, tokens, record = exchange.upstream, exchange.tokens, exchange.record
        backend = record.backend if record is not None else upstream.backend if upstream is not None else ""
        key = (exchange.route, exchange.model, exchange.tier, exchange.status // 100, backend)
        series = self._series.get(key) or self._make(key)
        slots, observe = self._slots, self._observe
        slots[series.requests] += 1.0
        observe(series.seconds, now - exchange.received)
        observe(self._overhead, overhead)
        if exchange.forwarded:
            slots[series.inflight] -= 1.0
            observe(series.upstream, (exchange.answered or now) - exchange.forwarded)
            if exchange.stream and first:
                observe(series.first_token, first - exchange.received)
        if tokens.source != "none":
            slots[series.prompt] += tokens.prompt
            slots[series.completion] += tokens.completion
            if exchange.money is None and exchange.model:
                self._board.add(self._board.index("unpriced_total", exchange.model_label))
        if exchange.detour is not None and exchange.detour.has_fallen:
            self._board.add(self._board.index("fallbacks_total", exchange.model_label, self._label(exchange.model)))
        if exchange.error is not None:
            self._count_error(exchange, backend)

    def refuse(self, error: GatewayError) -> None:
        """Something was refused before it was a request."""
        self._board.add(self._board.index("rejected_total", "", error.entry.code))

    def _count_error(self, exchange: Exchange, backend: str) -> None:
        assert exchange.error is not None
        number, code = exchange.error.number, exchange.error.entry.code
        if backend and 1700 <= number < 1900:
            self._board.add(self._board.index("upstream_errors_total", backend, code))
        elif number == 1904:
            self._board.add(self._board.index("shed_total", exchange.error.details["class"]))
        elif number < 1600:
            self._board.add(self._board.index("rejected_total", exchange.rule, code))

    def _label(self, model: str) -> str:
        entry = self._registry.find(model) if model else None
        return entry.label if entry is not None else ""

    def _make(self, key: _Key) -> _Series:
        route, model, tier, status, backend = key
        label = self._label(model)
        if len(self._series) >= _REMEMBERED:
            self._series.clear()
        index = self._board.index
        series = self._series[key] = _Series(
            requests=index("requests_total", route, label, tier, f"{status}xx"),
            seconds=index("request_seconds", route, label),
            inflight=index("inflight", backend) if backend else -1,
            upstream=index("upstream_seconds", backend) if backend else -1,
            first_token=index("first_token_seconds", label),
            prompt=index("tokens_total", label, tier, "prompt"),
            completion=index("tokens_total", label, tier, "completion"),
        )
        return series

"""Which model is asked when another one cannot answer: before the first byte, on the conditions that are named."""

from collections.abc import Collection

from gateway.backend import AnyBackend, Blame
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome
from gateway.relay.balance import RetryBudget
from gateway.relay.dialect.rejection import read_fault
from gateway.relay.registry import Entry, Registry, may_see_model

_BLAME_BYTES = 4096
_BUSY = 429  # of a server that has too much to do
_CONDITIONS: dict[int, tuple[str, ...]] = {
    **dict.fromkeys((1701, 1702, 1703, 1704, 1705, 1706), ("error",)),
    1710: ("error", "context"),  # engines answer so to a prompt that is too long for them
    **dict.fromkeys((1801, 1805, 1806), ("timeout",)),
    **dict.fromkeys((1108, 1707, 1708, 1714, 1716, 1808), ("not_loaded",)),
    **dict.fromkeys((1709, 1802), ("queue",)),
}


class Diverted(Exception):
    """A model's answer is given up before anything of it was sent: another model is to be asked."""


class Detour:
    """The models that one request may fall back to. Its body is remembered as it was before the first was asked.

    A body that an engine died of (1711) goes to no other one. Sending a request again to a server takes from the
    budget of retries; one that has reached no server yet takes nothing.
    """

    __slots__ = ("_asked", "_body", "_conditions", "_entry", "_fields", "_left", "_mark", "has_fallen")

    def __init__(self, exchange: Exchange, registry: Registry) -> None:
        self._asked: Entry = exchange.entry
        self._body = exchange.body
        self._fields = None if exchange.fields is None else dict(exchange.fields)
        self._mark = len(exchange.lines)
        self._conditions = frozenset(self._asked.falls_on)
        found = [registry.find(name) for name in self._asked.fallback]
        self._left = [e for e in found if e is not None and may_see_model(exchange.credential, e)]
        self._entry = self._asked
        self.has_fallen = False

    @property
    def origin(self) -> str:
        """The model that was asked for."""
        return self._asked.name

    def describe(self) -> dict[str, list[str]]:
        """The models that are left, in their order, and on what they are asked."""
        return {"to": [entry.name for entry in self._left], "on": sorted(self._conditions)}

    def takes_error(self, exchange: Exchange, error: GatewayError, budget: RetryBudget) -> bool:
        """Whether the next model is to be asked, since the gateway would refuse the request with `error`."""
        is_open = not exchange.first_byte and exchange.request.complete and exchange.upload is None
        return is_open and self._takes(_CONDITIONS.get(error.number, ()), exchange, budget)

    def takes_answer(self, exchange: Exchange, backend: AnyBackend, body: bytes, budget: RetryBudget) -> bool:
        """Whether the next model is to be asked, since a server answered with an error that another would not give."""
        assert exchange.reply is not None
        status = exchange.reply.status
        if read_fault(status, body).is_context:
            conditions: tuple[str, ...] = ("context",)
        elif status >= 500:
            conditions = () if backend.blame(status, body[:_BLAME_BYTES]) is Blame.CLIENT else ("error",)
        else:
            conditions = ("queue",) if status == _BUSY else ()
        return self._takes(conditions, exchange, budget)

    def move(self, exchange: Exchange) -> None:
        """Have the exchange ask for the next model. Its cost and price stay those of the model asked for."""
        self.has_fallen = True
        entry = self._left.pop(0)
        exchange.entry = entry.priced_as(self._asked)
        exchange.model = entry.name
        exchange.fields = None if self._fields is None else dict(self._fields)
        exchange.body = self._body
        exchange.reply = None
        if not exchange.request.started:  # with comments, while the first one was waited for
            exchange.status = 0
        exchange.answered = 0.0
        if exchange.outcome is Outcome.UPSTREAM_REJECTED:
            exchange.outcome = Outcome.UPSTREAM_FAILED
        del exchange.lines[self._mark :]

    def _takes(self, conditions: Collection[str], exchange: Exchange, budget: RetryBudget) -> bool:
        if not self._left or self._conditions.isdisjoint(conditions):
            return False
        was_asked = exchange.upstream is not None and exchange.upstream.attempts > 0
        return not was_asked or budget.pay()

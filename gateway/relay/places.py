"""Where requests may go, as the supervisor tells over the link: slots, endpoints that are down, dead engines."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.link import Acquire, Command, Done, Failed, Gone, Link, LinkClosed, Observation, Release, Slot
from gateway.settings.schema import Timeouts

_NONE: frozenset[str] = frozenset()
_LOST = frozenset(("refused", "reset", "truncated"))  # failures that a dead process causes


class Places:
    """One worker's view. `down` is replaced whole by the supervisor's push."""

    def __init__(self, link: Link, timeouts: Timeouts) -> None:
        self._link = link
        self._timeouts = timeouts
        self._suspects: set[tuple[str, str]] = set()  # endpoints whose failure was reported and not taken back
        self.down: dict[str, frozenset[str]] = {}

    def down_of(self, backend: str) -> Collection[str]:
        return self.down.get(backend, _NONE)

    async def acquire(self, exchange: Exchange, backend: str) -> Slot:
        """A slot of the backend, when there is one. Raises GatewayError 1707 to 1709, 1802, 1808.

        The place in the queue is given up if the caller is cancelled.
        """
        timeouts = self._timeouts
        ask = Acquire(backend, exchange.id, float(timeouts.queue), float(timeouts.load))
        try:
            answer = await self._link.call(ask)
        except LinkClosed:
            raise GatewayError(1901) from None
        except asyncio.CancelledError:
            self.release(exchange, backend, progress=False)
            raise
        if isinstance(answer, Slot):
            exchange.queued += answer.queued
            exchange.loading += answer.loading
            return answer
        assert isinstance(answer, Failed)
        raise _refusal(backend, answer)

    async def foresee(self, backend: str) -> Mapping[str, Any]:
        """How an engine and its queue stand. Raises GatewayError as `acquire` would at once; takes nothing."""
        try:
            answer = await self._link.call(Command("foresee", {"backend": backend}))
        except LinkClosed:
            raise GatewayError(1901) from None
        if isinstance(answer, Failed):
            raise _refusal(backend, answer)
        assert isinstance(answer, Done)
        state: Mapping[str, Any] = answer.data
        return state

    def release(self, exchange: Exchange, backend: str, *, progress: bool) -> None:
        """Give the slot back. `progress`: the engine finished, or was seen to work."""
        self._link.tell(Release(backend, exchange.id, progress))

    async def has_died(self, backend: str, load: str, kind: str) -> bool:
        """Whether that run of the engine has ended, as a failure of this `kind` may tell.

        Only a lost connection tells; then a death that is just happening is waited for a moment.
        """
        if not load or kind not in _LOST:
            return False
        try:
            answer = await self._link.call(Gone(backend, load))
        except LinkClosed:
            return True
        return isinstance(answer, Done) and bool(answer.data)

    def report(self, backend: str, endpoint: str, blame: str, consumer: str) -> None:
        """A failure of an endpoint, blamed on it ('endpoint') or perhaps on it ('unclear')."""
        self._suspects.add((backend, endpoint))
        self._link.tell(Observation(backend, endpoint, False, blame, consumer))

    def clear(self, backend: str, endpoint: str) -> None:
        """An endpoint answered: told only if it was under suspicion."""
        if self._suspects and (backend, endpoint) in self._suspects:
            self._suspects.discard((backend, endpoint))
            self._link.tell(Observation(backend, endpoint, True))


def _refusal(backend: str, answer: Failed) -> GatewayError:
    headers = {"Retry-After": str(max(1, round(answer.retry_after)))} if answer.retry_after else None
    return GatewayError(answer.number or 1707, answer.reason, headers=headers, details={"backend": backend})

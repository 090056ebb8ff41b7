"""Where requests may go, as the supervisor tells over the link: slots, endpoints that are down, dead engines."""

import asyncio
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.client import UpstreamConnection
from gateway.link import (
    Acquire,
    Command,
    Done,
    EndpointStates,
    Failed,
    Gone,
    Link,
    LinkClosed,
    Observation,
    Release,
    Slot,
    Trial,
)
from gateway.metrics import Board
from gateway.relay.body import forwarded_body
from gateway.relay.claim import count_tokens, estimate_tokens, find_consumer, find_priority, find_tier
from gateway.relay.herald import is_awaited, keep_company
from gateway.relay.route import Route
from gateway.settings.schema import Config

_NONE: frozenset[str] = frozenset()
_WAIT = 5.0  # seconds until it is worth asking again, where nobody knows
_LOST = frozenset(("refused", "reset", "truncated"))  # failures that a dead process causes


def _digest(exchange: Exchange, backend: str) -> bytes:
    """A body as it goes to a backend: what one engine dies of need not kill another."""
    return blake2b(forwarded_body(exchange), digest_size=16, key=backend.encode()[:64]).digest()


class Guest(Protocol):
    """A request that has a slot of an engine, or waits for one."""

    load: str
    connection: UpstreamConnection | None


class Places:
    """One worker's view. `down` is replaced whole by the supervisor's push. `board`: where waits are counted."""

    def __init__(self, link: Link, config: Config, board: Board | None = None) -> None:
        self._link = link
        self._timeouts = config.timeouts
        self._tiers = config.tiers
        self._tells_times = config.headers.timing
        self._board = board
        self._suspects: set[tuple[str, str]] = set()  # endpoints whose failure was reported and not taken back
        self.down: dict[str, frozenset[str]] = {}
        self.trials: dict[str, tuple[str, ...]] = {}
        self._waits: dict[str, float] = {}  # monotonic seconds at which an endpoint can be asked again
        self._poison: dict[bytes, float] = {}  # monotonic seconds until which a body is refused
        self.guests: set[Guest] = set()

    def inform(self, states: EndpointStates, now: float) -> None:
        """Take in what the supervisor says of the endpoints."""
        self.down = {backend: frozenset(urls) for backend, urls in states.down.items()}
        self.trials = states.trials
        self._waits = {backend: now + wait for backend, wait in states.waits.items()}
        self._poison = {body: now + left for body, left in states.poison.items()}

    def down_of(self, backend: str) -> Collection[str]:
        return self.down.get(backend, _NONE)

    def check_body(self, exchange: Exchange, backend: str, now: float) -> None:
        """Raise GatewayError 1221 for a body that has taken the backend's engine down before, again and again."""
        if self._poison and self._poison.get(_digest(exchange, backend), now) > now:
            raise GatewayError(1221, details={"backend": backend})

    def wait_of(self, backend: str, now: float) -> float:
        """Seconds until a backend all of whose endpoints are down can be asked again, as far as that is known."""
        return max(0.0, self._waits.get(backend, now + _WAIT) - now)

    async def find_trial(self, backend: str, tried: Collection[str]) -> str | None:
        """An endpoint that has been left alone and that this request is to try out."""
        for url in self.trials.get(backend, ()):
            if url not in tried:
                try:
                    answer = await self._link.call(Trial(backend, url))
                except LinkClosed:
                    return None
                if isinstance(answer, Done) and answer.data:
                    return url
        return None

    async def acquire(self, exchange: Exchange, backend: str, route: Route) -> Slot:
        """A slot of the backend, when there is one. Raises GatewayError 1108, 1707 to 1709, 1714, 1716, 1802, 1808.

        The place in the queue is given up if the caller is cancelled.
        """
        timeouts, tier = self._timeouts, find_tier(exchange, self._tiers)
        ask = Acquire(
            backend, exchange.id, float(timeouts.queue), float(timeouts.load), find_priority(exchange, tier),
            find_consumer(exchange), estimate_tokens(exchange, tier.reserve), tier.may_load, tier.may_evict,
        )  # fmt: skip
        try:
            coming = self._link.call(ask)
            if route.early_comments and is_awaited(exchange):
                await keep_company(exchange, route, coming, lambda: self._find_state(backend))
            answer = await coming
        except LinkClosed:
            raise GatewayError(1901) from None
        except asyncio.CancelledError:
            self.release(exchange, backend, progress=False)
            raise
        if isinstance(answer, Slot):
            self._count_wait(exchange, ask, answer.queued)
            self._count_load(exchange, backend, answer.loading)
            return answer
        assert isinstance(answer, Failed)
        if waited := answer.details.get("waited"):
            self._count_wait(exchange, ask, waited)
        raise self._refusal(backend, answer)

    async def _find_state(self, backend: str) -> str:
        """What somebody who waits for a slot is waiting for, in a word."""
        lives = await self.command("models.lives")
        return "queued" if lives.get(backend, {}).get("status") == "loaded" else "loading"

    def _count_load(self, exchange: Exchange, backend: str, seconds: float) -> None:
        exchange.loading += seconds
        if seconds and self._board is not None:
            self._board.observe(self._board.index("load_seconds", backend), seconds)

    def _count_wait(self, exchange: Exchange, ask: Acquire, seconds: float) -> None:
        exchange.queued += seconds
        if self._board is not None:
            self._board.observe(self._board.index("queue_seconds", ask.backend, ask.priority), seconds)

    async def foresee(self, exchange: Exchange, backend: str) -> Mapping[str, Any]:
        """How an engine and its queue stand. Raises GatewayError as `acquire` would at once; takes nothing."""
        tier = find_tier(exchange, self._tiers)
        state: Mapping[str, Any] = await self.command(
            "foresee", backend=backend, may_load=tier.may_load, may_evict=tier.may_evict,
            priority=find_priority(exchange, tier), consumer=find_consumer(exchange),
            tokens=estimate_tokens(exchange, tier.reserve),
        )  # fmt: skip
        return state

    async def command(self, name: str, **arguments: Any) -> Any:
        """What the supervisor answers. Raises GatewayError as it says, and 1901 when it is gone."""
        try:
            answer = await self._link.call(Command(name, arguments))
        except LinkClosed:
            raise GatewayError(1901) from None
        if isinstance(answer, Failed):
            raise self._refusal(arguments.get("backend", ""), answer)
        assert isinstance(answer, Done)
        return answer.data

    def release(self, exchange: Exchange, backend: str, *, progress: bool, lingers: bool = False) -> None:
        """Give the slot back. `progress`: the engine finished, or was seen to work. `lingers`: it works for nobody."""
        self._link.tell(Release(backend, exchange.id, progress, count_tokens(exchange, progress), lingers))

    def measure_silence(self, load: str) -> Done:
        """Seconds for which every request at that run of an engine has been waiting for it; None: there are none."""
        connections = [guest.connection for guest in self.guests if guest.load == load]
        return Done(min((there.waited() if there is not None else 0.0 for there in connections), default=None))

    async def find_death(self, backend: str, load: str, kind: str, exchange: Exchange | None = None) -> str:
        """How that run of the engine has ended, as a failure of this `kind` may tell: `signal 9`; empty if it lives.

        Only a lost connection tells; then a death that is just happening is waited for a moment. It is noted in, and
        blamed on the body of, `exchange`: the request that it was working on.
        """
        death = await self._find_death(backend, load, kind)
        if death and exchange is not None:
            if exchange.upstream is not None:
                exchange.upstream.death = death
            if forwarded_body(exchange):  # what has no body is nobody's poison
                body = _digest(exchange, backend)
                self._link.tell(Observation(backend, "", False, "engine", body=body, load=load))
        return death

    async def _find_death(self, backend: str, load: str, kind: str) -> str:
        if not load or kind not in _LOST:
            return ""
        try:
            answer = await self._link.call(Gone(backend, load))
        except LinkClosed:
            return "over"
        return str(answer.data) if isinstance(answer, Done) else ""

    def report(self, seen: Observation) -> None:
        """What became of a request at an endpoint: a failure, or a trial that went well."""
        if not seen.ok:
            self._suspects.add((seen.backend, seen.endpoint))
        self._link.tell(seen)

    def clear(self, backend: str, endpoint: str) -> None:
        """An endpoint answered: told only if it was under suspicion."""
        if self._suspects and (backend, endpoint) in self._suspects:
            self._suspects.discard((backend, endpoint))
            self._link.tell(Observation(backend, endpoint, True))

    def _refusal(self, backend: str, answer: Failed) -> GatewayError:
        """What the supervisor's refusal is for the client."""
        headers = {"Retry-After": str(max(1, round(answer.retry_after)))} if answer.retry_after else {}
        if self._tells_times and "waited" in answer.details:
            headers["X-Tollkeeper-Queue-Ms"] = f"{answer.details['waited'] * 1e3:.2f}"
        details = {"backend": backend, **answer.details}
        return GatewayError(answer.number or 1707, answer.reason, headers=headers, details=details)

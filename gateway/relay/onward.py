"""Where a request would go once the chain has let it pass, told and not done: for explanations."""

import time
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Reply
from gateway.relay.assembly import Assembly
from gateway.relay.balance import RetryBudget
from gateway.relay.directions import no_route
from gateway.relay.places import Places
from gateway.relay.route import Route
from gateway.relay.target import Target, no_endpoint

_SAFE = frozenset(("GET", "HEAD"))


class Onward:
    """What the core does with a request. `place` is where it would go, as far as it came.

    A model that would refuse it at once is fallen back from, as a real request would be; what a server would answer,
    nobody knows.
    """

    def __init__(
        self, assembly: Assembly, live: Assembly, places: Places, route: Route, allowed: frozenset[str] | None
    ) -> None:
        self._directions = assembly.directions
        self._live = live.directions.targets
        self._places = places
        self._route = route
        self._allowed = allowed
        self._budget = RetryBudget(time.monotonic)
        self.place: dict[str, Any] = {}

    def steps(self) -> list[tuple[str, Any]]:
        if self._allowed is not None:
            return [("route", self._refuse)]
        if self._route.serve is not None:
            return [("answer", self._serve)]
        return [("target", self._find), ("endpoint", self._choose)]

    def _refuse(self, exchange: Exchange) -> None:
        assert self._allowed is not None
        raise no_route(exchange, self._allowed)

    async def _serve(self, exchange: Exchange) -> Reply | None:
        """The gateway's own answer; one that would change something is not asked for."""
        self.place = {"answered_by": "gateway"}
        assert self._route.serve is not None
        return await self._route.serve(exchange) if exchange.method in _SAFE else None

    def _find(self, exchange: Exchange) -> None:
        exchange.detour = detour = self._directions.find_detour(exchange)
        self._go(exchange)
        if detour is not None:
            self.place["fallback"] = detour.describe()

    def _go(self, exchange: Exchange) -> None:
        self._target = self._directions.find_target(exchange, self._route)
        self.place = {name: self.place[name] for name in self.place.keys() & {"fallback", "instead_of"}}
        self.place["backend"] = self._target.name
        if exchange.entry is not None:
            self.place |= {"model": exchange.model, "sent_as": msgspec.json.decode(_model_field(exchange))}

    async def _choose(self, exchange: Exchange) -> None:
        """The endpoint or the engine; of the model that is fallen back to where this one would be refused."""
        while True:
            try:
                await self._look(exchange)
                return
            except GatewayError as error:
                if exchange.detour is None or not exchange.detour.takes_error(exchange, error, self._budget):
                    raise
                self.place.setdefault("instead_of", []).append({"model": exchange.model, "error": error.number})
            exchange.detour.move(exchange)
            self._go(exchange)

    async def _look(self, exchange: Exchange) -> None:
        if self._target.candidates:
            self._pick(exchange, self._target)
        else:
            self.place["engine"] = dict(await self._places.foresee(exchange, self._target.name))

    def _pick(self, exchange: Exchange, target: Target) -> None:
        """The endpoint, chosen by what the worker has in flight now."""
        down = self._places.down_of(target.name)
        for mine, live in zip(target.candidates, self._live[target.name].candidates, strict=True):
            mine.mirror(live)
        self.place["endpoints"] = [
            {"url": c.url, "state": "down" if c.url in down else "up", "inflight": c.inflight}
            for c in target.candidates
        ]
        candidate = target.pick(exchange, down)
        if candidate is None:
            raise no_endpoint(target, self._places.wait_of(target.name, time.monotonic()))
        self.place["endpoint"] = candidate.url


def _model_field(exchange: Exchange) -> bytes:
    assert exchange.fields is not None
    return bytes(exchange.fields["model"])

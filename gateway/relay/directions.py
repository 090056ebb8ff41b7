"""Where a request can go: its route, and the target of the model that it asks for."""

import re
from collections.abc import Callable

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Head
from gateway.http.faults import BadRequest
from gateway.http.head import RequestHead
from gateway.relay.body import rename_model
from gateway.relay.content import Transcript
from gateway.relay.fallback import Detour
from gateway.relay.fitting import fit_fields
from gateway.relay.registry import Registry
from gateway.relay.route import Route
from gateway.relay.router import Router
from gateway.relay.target import Target

Locate = Callable[[str, Head], str]

_is_request_id = re.compile(rb"[A-Za-z0-9_-]{1,64}").fullmatch


class Directions(msgspec.Struct, frozen=True):
    """All ways of one configuration. `fallback` is the route of paths that no route has: its chain runs, then it is
    a 404."""

    router: Router[Route]
    fallback: Route
    registry: Registry
    targets: dict[str, Target]
    locate: Locate | None = None  # the client behind a trusted proxy
    traces: bool = True  # whether requests are part of their callers' traces

    def enter(self, exchange: Exchange) -> tuple[Route, frozenset[str] | None]:
        """The route, which is noted on the exchange; for the fallback also the methods that the path would take."""
        found, allowed = self.router.find(exchange.method, exchange.path)
        route = found or self._find_preflighted(exchange) or self.fallback
        exchange.route = route.path
        exchange.cost = route.costs.get(exchange.method, route.cost) if route.costs else route.cost
        exchange.permission, exchange.projects = route.permission, route.projects
        exchange.dialect = route.dialect_of(exchange.path)
        if route.content is not None:
            exchange.content = Transcript(route.content)
        return route, None if found is not None else allowed

    def _find_preflighted(self, exchange: Exchange) -> Route | None:
        """The route that a browser's preflight is about (WHATWG Fetch, 4.8): it may have its own idea of origins."""
        asked = exchange.head.get(b"access-control-request-method") if exchange.method == "OPTIONS" else None
        return None if asked is None else self.router.find(asked.decode("latin-1"), exchange.path)[0]

    def find_detour(self, exchange: Exchange) -> Detour | None:
        """The models that the request may fall back to."""
        entry = exchange.entry
        return Detour(exchange, self.registry) if entry is not None and entry.fallback else None

    def find_target(self, exchange: Exchange, route: Route) -> Target:
        """Where the request goes on; `exchange.fields` gets the name that its server knows.

        Raises 1302, or 1220 for a field that must not reach that server.
        """
        if route.target is not None:
            return route.target
        entry = exchange.entry
        if entry is None:
            raise GatewayError(1302, f"There is no model {exchange.model_asked!r}.", param="model")
        target: Target = self.targets[entry.backend]
        if exchange.fields is not None:
            fit_fields(exchange, exchange.fields, target.backend)
        name = entry.upstream or target.backend.model_name(entry.name)
        if name != exchange.model_asked:
            rename_model(exchange, name)
        return target


def open_exchange(head: RequestHead, received: float, new_id: Callable[[], str]) -> Exchange:
    """The exchange of a request; what the client calls it is heeded where it is plain."""
    exchange = Exchange(new_id(), head, head.method, head.path, received)
    exchange.query = head.query
    named = head.get(b"x-request-id")
    if named is not None and _is_request_id(named):
        exchange.request_id = named.decode("ascii")
    exchange.lines.append(f"X-Request-ID: {exchange.request_id}\r\n")
    return exchange


def explain_fault(fault: BadRequest) -> GatewayError:
    """What is said of a body that is too large, too slow or broken."""
    return GatewayError(fault.number, fault.message, details={"limit": fault.limit} if fault.limit else None)


def no_route(exchange: Exchange, allowed: frozenset[str]) -> GatewayError:
    """Why `Directions.enter` found no route."""
    if allowed:
        listed = ", ".join(sorted(allowed))
        return GatewayError(1207, f"{exchange.path} takes {listed}.", headers={"Allow": listed})
    return GatewayError(1301, f"No route has the path {exchange.path[:200]}.")

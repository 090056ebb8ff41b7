"""From a configuration to a relay: plugins and backends loaded, chains and routes compiled. Done once per worker."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.loader import load_backend, load_plugin
from gateway.plugin import AnyPlugin
from gateway.relay.body import BodyReader
from gateway.relay.chain import Chain, Hook, compile_chain
from gateway.relay.directions import Directions
from gateway.relay.pages import Pages
from gateway.relay.registry import Registry, may_use_route
from gateway.relay.route import Route
from gateway.relay.router import Router
from gateway.relay.target import Target
from gateway.settings import schema

MODEL_METHODS = frozenset(("POST",))


class Assembly(msgspec.Struct, frozen=True):
    """`plugins` are all instances, each once, to be started and stopped."""

    directions: Directions
    plugins: tuple[AnyPlugin, ...]


def assemble(config: schema.Config, started: int) -> Assembly:
    """Compile `config`, which was checked. `started` is unix seconds. Raises ConfigError or TypeError."""
    return _Assembler(config, started).build()


class _Assembler:
    def __init__(self, config: schema.Config, started: int) -> None:
        self._config = config
        self._registry = Registry(config.models)
        self._pages = Pages(self._registry, started)
        self._targets = {
            name: Target(name, settings, load_backend(name, *settings.engine))
            for name, settings in config.backends.items()
        }
        self._plugins: list[AnyPlugin] = []
        self._default = self._load(config.plugins)

    def build(self) -> Assembly:
        routes = [self._compile(route) for route in self._config.routes]
        taken = {(route.path, method) for route in routes for method in (route.methods or {"GET"})}
        routes += [route for route in self._own_routes() if (route.path, "GET") not in taken]
        fallback = Route("", frozenset(), self._chain(self._default, schema.Route(path="", to="")), 1000, "own")
        directions = Directions(Router(routes), fallback, self._registry, self._targets)
        return Assembly(directions, tuple(self._plugins))

    def _load(self, entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, AnyPlugin]]:
        loaded = [(name, load_plugin(name, raw)) for entry in entries for name, raw in entry.items()]
        self._plugins.extend(plugin for _, plugin in loaded)
        return loaded

    def _chain(self, plugins: Sequence[tuple[str, AnyPlugin]], route: schema.Route) -> Chain:
        limits = self._config.limits
        to_models = route.to == "models"
        cost = round(route.cost * 1000)
        reader = BodyReader(route.body or limits.body, limits.json_depth, cost, self._registry if to_models else None)
        return compile_chain(plugins, _CHECKS[route.auth], reader.read, to_models)

    def _compile(self, route: schema.Route) -> Route:
        plugins = self._default if route.plugins is None else self._load(route.plugins)
        to_models = route.to == "models"
        timeouts = self._config.timeouts
        return Route(
            path=route.path,
            methods=frozenset(route.methods) or (MODEL_METHODS if to_models else frozenset()),
            chain=self._chain(plugins, route),
            cost=round(route.cost * 1000),
            kind="models" if to_models else "target",
            target=None if to_models else self._targets[route.to],
            strip=route.strip,
            body=route.body or self._config.limits.body,
            retry=route.retry,
            first_byte=timeouts.first_byte if route.first_byte is None else route.first_byte,
            idle=timeouts.idle if route.idle is None else route.idle,
            total=timeouts.total if route.total is None else route.total,
        )

    def _own_routes(self) -> list[Route]:
        """The gateway's own answers; a configured route of the same path replaces them. They cost nothing."""
        pages = self._pages
        return [
            self._own("/v1/models", pages.list_models, "required"),
            self._own("/v1/models/*", pages.show_model, "required"),
            self._own("/errors/*", pages.show_error, "none"),
        ]

    def _own(self, path: str, serve: Any, auth: Any) -> Route:
        chain = self._chain(self._default, schema.Route(path=path, to="", auth=auth))
        return Route(path, frozenset(("GET", "HEAD")), chain, 0, "own", serve=serve)


def _require_identity(exchange: Exchange) -> None:
    credential = exchange.credential
    if credential is None:
        raise GatewayError(1001, headers={"WWW-Authenticate": "Bearer"})
    if credential.is_scoped:
        _check_scope(exchange)


def _check_scope(exchange: Exchange) -> None:
    credential = exchange.credential
    if credential is not None and not may_use_route(credential, exchange.path):
        raise GatewayError(1102, f"The key may not use {exchange.path[:200]}.")


_CHECKS: dict[str, Hook | None] = {"required": _require_identity, "optional": _check_scope, "none": None}

"""From a configuration to a relay: plugins and backends loaded, chains and routes compiled. Done once per worker."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from gateway.link import door
from gateway.loader import load_backend, load_plugin
from gateway.plugin import AnyPlugin
from gateway.redaction import compile_redaction
from gateway.relay.body import BodyReader
from gateway.relay.chain import Chain, Hook, compile_chain
from gateway.relay.clients import Clients
from gateway.relay.content import Keeping
from gateway.relay.control import Introduction, make_target
from gateway.relay.dialect.kind import DIALECTS, Dialect, find_dialect
from gateway.relay.directions import Directions
from gateway.relay.guard import RULE, Guard
from gateway.relay.life import PERMISSION, Life
from gateway.relay.me import Me
from gateway.relay.pages import show_error
from gateway.relay.registry import Registry
from gateway.relay.route import Route, Serve
from gateway.relay.router import Router
from gateway.relay.scope import check_identity, check_model, require_identity
from gateway.relay.target import Target
from gateway.settings import schema

MODEL_METHODS = frozenset(("POST",))
_CONTROL_BODY = 1_000_000  # bytes
_CHECKS: dict[str, Hook | None] = {"required": require_identity, "optional": check_identity, "none": None}

_Auth = Literal["required", "optional", "none"]


class Assembly(msgspec.Struct, frozen=True):
    """`plugins` are all instances, each once, to be started and stopped."""

    directions: Directions
    plugins: tuple[AnyPlugin, ...]
    guard: Guard | None
    life: Life
    way: door.Door


def assemble(config: schema.Config, started: int, guard: Guard | None = None, way: door.Door | None = None) -> Assembly:
    """Compile `config`, which was checked. `started` is unix seconds. Raises ConfigError or TypeError.

    `guard` is one that knows who has failed already, and is started by its owner; else the assembly has its own.
    `way` leads to control; nobody goes there without.
    """
    return _Assembler(config, started, guard, way or door.Door()).build()


class _Assembler:
    def __init__(self, config: schema.Config, started: int, guard: Guard | None, way: door.Door) -> None:
        self._config = config
        self._registry = Registry(config.models)
        self._life = Life(self._registry, config, started)
        self._targets = {
            name: Target(name, settings, load_backend(name, *settings.engine))
            for name, settings in config.backends.items()
        }
        self._way = way
        self._targets[door.NAME] = make_target(way)
        failures = config.limits.failed_logins
        self._guard = None if failures.unlimited else guard or Guard(failures)
        self._plugins: list[AnyPlugin] = [] if self._guard is None or self._guard is guard else [self._guard]
        self._default = self._load(config.plugins)
        self._me = Me(self._registry, self._default)
        self._plugins.append(self._me)

    def build(self) -> Assembly:
        routes = [self._compile(route) for route in self._config.routes]
        taken = {(route.path, method) for route in routes for method in (route.methods or ("GET", "POST", "DELETE"))}
        routes += [own for method, own in self._own_routes() if (own.path, method) not in taken]
        fallback = Route("", frozenset(), self._chain(self._default, schema.Route(path="", to="")), 1000, "own")
        clients = Clients(self._config.listen.trusted)
        locate = clients.locate if clients.has_proxies else None
        traces = self._config.headers.trace
        directions = Directions(Router(routes), fallback, self._registry, self._targets, locate, traces)
        return Assembly(directions, tuple(self._plugins), self._guard, self._life, self._way)

    def _load(self, entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, AnyPlugin]]:
        loaded = [(name, load_plugin(name, raw)) for entry in entries for name, raw in entry.items()]
        self._plugins.extend(plugin for _, plugin in loaded)
        return loaded

    def _chain(self, plugins: Sequence[tuple[str, AnyPlugin]], route: schema.Route) -> Chain:
        limits = self._config.limits
        to_models = route.to == "models"
        registry = self._registry if to_models else None
        holds_forms = any(plugin.needs == "body" for _, plugin in plugins)
        reader = BodyReader(route.body or limits.body, limits.json_depth, registry, holds_forms)
        check = check_model if to_models else None
        if route.auth != "none":
            plugins = self._guarded(plugins)
        return compile_chain(plugins, _CHECKS[route.auth], reader.read, check, reader.check_digest)

    def _guarded(self, plugins: Sequence[tuple[str, AnyPlugin]]) -> Sequence[tuple[str, AnyPlugin]]:
        """With the guard before the first plugin that authenticates."""
        first = next((at for at, (_, plugin) in enumerate(plugins) if plugin.authenticates), None)
        if first is None or self._guard is None:
            return plugins
        return [*plugins[:first], (RULE, self._guard), *plugins[first:]]

    def _compile(self, route: schema.Route) -> Route:
        plugins = self._default if route.plugins is None else self._load(route.plugins)
        to_models = route.to == "models"
        timeouts = self._config.timeouts
        return Route(
            path=route.path,
            methods=frozenset(route.methods) or (MODEL_METHODS if to_models else frozenset()),
            chain=self._chain(plugins, route),
            cost=round(route.cost * 1000),
            costs={method: round(cost * 1000) for method, cost in route.costs.items()},
            kind="models" if to_models else "target",
            target=None if to_models else self._targets[route.to],
            strip=route.strip,
            body=route.body or self._config.limits.body,
            dialect=_name_dialect(route),
            is_mixed=to_models and route.dialect == "auto" and route.path.endswith("/*"),
            permission=route.permission,
            projects=route.projects,
            retry=route.retry,
            first_byte=timeouts.first_byte if route.first_byte is None else route.first_byte,
            idle=timeouts.idle if route.idle is None else route.idle,
            total=timeouts.total if route.total is None else route.total,
            early_comments=route.early_comments,
            content=_read_content(route.content, self._config.trace),
        )

    def _own_routes(self) -> list[tuple[str, Route]]:
        """The gateway's own answers; a configured route of the same path replaces them. They cost nothing."""
        life = self._life
        return [
            ("GET", self._own("/v1/models", life.list_models)),
            ("GET", self._own("/v1/models/stats", life.show_stats)),
            ("GET", self._own("/v1/models/*", life.show_model)),
            ("POST", self._own("/v1/models/*", life.load, ("POST",), permission=PERMISSION)),
            ("DELETE", self._own("/v1/models/*", life.unload, ("DELETE",), permission=PERMISSION)),
            ("GET", self._own("/errors/*", show_error, auth="none")),
            ("GET", self._own("/api/v1/me", self._me.show)),
            ("POST", self._own("/api/v1/me/keys/rotate", self._me.rotate, ("POST",))),
            *[("GET", self._to_control(path)) for path in door.PATHS],
            *[("GET", self._to_control(path, "none")) for path in door.OPEN_PATHS],
        ]

    def _to_control(self, path: str, auth: _Auth = "required") -> Route:
        """Control's API. Plugins that hold answers are left out: it makes ETags and chooses fields; exports flow."""
        flowing = [(name, plugin) for name, plugin in self._default if not plugin.buffers]
        chain = self._chain([*flowing, (door.NAME, Introduction(self._default))], _own_route(path, auth))
        timeouts = self._config.timeouts
        return Route(
            path, frozenset(door.METHODS), chain, 0, "target", self._targets[door.NAME], body=_CONTROL_BODY,
            first_byte=timeouts.first_byte, idle=timeouts.idle, total=timeouts.total,
        )  # fmt: skip

    def _own(
        self, path: str, serve: Serve, methods: tuple[str, ...] = ("GET", "HEAD"), auth: _Auth = "required",
        permission: str = "",
    ) -> Route:  # fmt: skip
        chain = self._chain(self._default, _own_route(path, auth))
        return Route(path, frozenset(methods), chain, 0, "own", serve=serve, permission=permission)


def _own_route(path: str, auth: _Auth) -> schema.Route:
    return schema.Route(path=path, to="", auth=auth)


def _read_content(content: schema.Content | None, trace: schema.Trace) -> Keeping | None:
    if content is None:
        return None
    return Keeping(content.input, content.output, compile_redaction((*trace.redact, *content.redact)))


def _name_dialect(route: schema.Route) -> Dialect | None:
    """The dialect of a route; a route to a backend has none unless the file says so."""
    if route.dialect == "auto":
        return find_dialect(route.path) if route.to == "models" else None
    return DIALECTS.get(route.dialect)

"""Plugins and backends: whether they exist, accept their settings, and make sense together."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.loader import load_backend, load_plugin
from gateway.plugin import AnyPlugin
from gateway.settings.problem import ConfigError, Problem, join
from gateway.settings.schema import Config, Route

Chain = Sequence[tuple[str, AnyPlugin]]  # where each plugin stands in the file, and the plugin


def check_parts(config: Config) -> Iterator[Problem]:
    """Every part loads and can do its work, and no route's chain refuses everybody by construction."""
    yield from _backends(config)
    default, problems = _load(config.plugins, "plugins")
    yield from problems or _order(default)
    for at, route in enumerate(config.routes):
        path = join("routes", at)
        chain, broken = default, problems
        if route.plugins is not None:
            chain, broken = _load(route.plugins, join(path, "plugins"))
            yield from broken or _order(chain)
        if not broken:
            yield from _identity(route, chain, path)


def _backends(config: Config) -> Iterator[Problem]:
    for name, backend in config.backends.items():
        engine, raw = backend.engine
        path = join(f"backends.{name}", engine)
        try:
            loaded = load_backend(name, engine, raw)
        except ConfigError as error:
            yield from _below(path, error)
        else:
            yield from (Problem(path, message) for message in loaded.problems())


def _load(entries: Sequence[dict[str, Any]], path: str) -> tuple[Chain, list[Problem]]:
    chain: list[tuple[str, AnyPlugin]] = []
    problems: list[Problem] = []
    for at, entry in enumerate(entries):
        ((name, raw),) = entry.items()
        where = join(join(path, at), name)
        try:
            chain.append((where, load_plugin(name, raw)))
        except ConfigError as error:
            problems.extend(_below(where, error))
    return chain, problems


def _order(chain: Chain) -> Iterator[Problem]:
    """A chain is sane: no plugin twice, and no body is read for somebody who is not known yet."""
    last = max((at for at, (_, plugin) in enumerate(chain) if plugin.authenticates), default=-1)
    seen: dict[type, str] = {}
    for at, (path, plugin) in enumerate(chain):
        if type(plugin) in seen:
            yield Problem(path, f"stands twice in its chain, first as {seen[type(plugin)]}")
        seen[type(plugin)] = path
        if at < last and plugin.needs != "head":
            message = "reads the request's body before the caller is known; put it after the plugins that authenticate"
            yield Problem(path, message, "warning")


def _identity(route: Route, chain: Chain, path: str) -> Iterator[Problem]:
    if route.auth == "none" or any(plugin.authenticates for _, plugin in chain):
        return
    if route.auth == "required":
        message = "every request would be refused: no plugin of its chain authenticates; add one, or write `auth: none`"
        yield Problem(path, message)
    else:
        yield Problem(path, "nobody is ever identified here: no plugin of its chain authenticates", "warning")


def _below(path: str, error: ConfigError) -> Iterator[Problem]:
    """The problems of a part, told from the root of the file."""
    for problem in error.problems:
        separator = "." if problem.path and not problem.path.startswith("[") else ""
        yield Problem(f"{path}{separator}{problem.path}", problem.message, problem.level)

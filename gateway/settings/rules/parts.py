"""Plugins and backends: whether they exist, accept their settings, and make sense together."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.loader import load_backend, load_plugin
from gateway.plugin import AnyPlugin
from gateway.settings.problem import ConfigError, Problem, join, suggest
from gateway.settings.rules.order import Chain, check_order, check_strangers, check_use
from gateway.settings.schema import Config, Route


def check_parts(config: Config) -> Iterator[Problem]:
    """Every part loads and can do its work, and no route's chain refuses everybody by construction."""
    yield from _backends(config)
    default, problems = _load(config.plugins, "plugins")
    yield from problems or _chain(config, default)
    chains, is_broken = [default], bool(problems)
    for at, route in enumerate(config.routes):
        path = join("routes", at)
        chain, broken = default, problems
        if route.plugins is not None:
            chain, broken = _load(route.plugins, join(path, "plugins"))
            yield from broken or _chain(config, chain)
            chains.append(chain)
            is_broken = is_broken or bool(broken)
        if not broken:
            yield from _identity(route, chain, path)
            yield from check_strangers(config, route, chain, path)
            yield from _permission(route, chain, path)
    if config.routes and not is_broken:
        yield from check_use(config, chains)


def _chain(config: Config, chain: Chain) -> Iterator[Problem]:
    """The plugins are in order, and tiers of which their settings speak (`tiers`) exist."""
    yield from check_order(chain)
    for path, plugin in chain:
        for name in getattr(plugin.settings, "tiers", ()):
            if name not in config.tiers and name != "anonymous":
                yield Problem(f"{path}.tiers.{name}", f"no tier `{name}`{suggest(name, config.tiers)}")


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
            if loaded.chosen:
                yield Problem(path, loaded.chosen, "note")


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


def _identity(route: Route, chain: Chain, path: str) -> Iterator[Problem]:
    if route.auth == "none" or any(plugin.authenticates for _, plugin in chain):
        return
    if route.auth == "required":
        message = "every request would be refused: no plugin of its chain authenticates; add one, or write `auth: none`"
        yield Problem(path, message)
    else:
        yield Problem(path, "nobody is ever identified here: no plugin of its chain authenticates", "warning")


def _permission(route: Route, chain: Chain, path: str) -> Iterator[Problem]:
    """What is not the default was meant to keep somebody out."""
    if route.permission in ("", Route(path="").permission) or any(plugin.authorizes for _, plugin in chain):
        return
    yield Problem(f"{path}.permission", "nobody asks for it: no plugin of the route's chain authorizes, such as `acl`")


def _below(path: str, error: ConfigError) -> Iterator[Problem]:
    """The problems of a part, told from the root of the file."""
    for problem in error.problems:
        separator = "." if problem.path and not problem.path.startswith("[") else ""
        yield Problem(f"{path}{separator}{problem.path}", problem.message, problem.level)

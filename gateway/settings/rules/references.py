"""Names that stand for something: tiers, backends, models, aliases."""

import re
from collections.abc import Iterator

from gateway.relay.registry import Registry, is_model_id
from gateway.settings.problem import Problem, join, suggest
from gateway.settings.schema import Config, Model, Route

_NAME = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}", re.ASCII)


def check_references(config: Config) -> Iterator[Problem]:
    """Every name leads somewhere, and names that are shown in headers, files and metrics are plain."""
    yield from _names(config)
    registry = Registry(config.models)
    for name, model in config.models.items():
        yield from _model(config, name, model)
        yield from _fallbacks(config, registry, name, model)
    for at, route in enumerate(config.routes):
        yield from _target(config, route, join("routes", at))


def _names(config: Config) -> Iterator[Problem]:
    for section in ("tiers", "roles", "consumers", "backends"):
        for name in getattr(config, section):
            if not _NAME.fullmatch(name):
                yield Problem(
                    f"{section}.{name}", "names are letters, digits, `.`, `_`, `-` and `@`, at most 64 of them"
                )
    if "models" in config.backends:
        yield Problem("backends.models", "a backend cannot be called `models`: routes use that word for the registry")


def _model(config: Config, name: str, model: Model) -> Iterator[Problem]:
    path = f"models.{name}"
    if not is_model_id(name.replace("*", "x").replace("?", "x")):
        yield Problem(path, "a model's name is letters, digits, `._:@+-` and at most three `/`; `*` makes a pattern")
    if bool(model.backend) == bool(model.alias):
        yield Problem(path, "must have either `backend` or `alias`")
    elif model.backend and model.backend not in config.backends:
        yield Problem(f"{path}.backend", f"no backend `{model.backend}`{suggest(model.backend, config.backends)}")
    elif model.alias and model.alias not in config.models:
        yield Problem(f"{path}.alias", f"no model `{model.alias}`{suggest(model.alias, config.models)}")
    elif model.alias and (model.preload or model.pin):
        yield Problem(path, f"`preload` and `pin` stand at the model itself, `{model.alias}`")
    elif model.alias and _goes_in_circles(config, name):
        yield Problem(f"{path}.alias", "the aliases go in a circle, or through more than seven names")


def _fallbacks(config: Config, registry: Registry, name: str, model: Model) -> Iterator[Problem]:
    path = f"models.{name}.fallback"
    if model.fallback is None:
        return
    if model.alias:
        yield Problem(path, "an alias falls back where its model does: name it there")
    if not model.fallback.on:
        yield Problem(f"{path}.on", "is empty, so that it never falls back")
    for at, other in enumerate(model.fallback.to):
        found = registry.find(other)
        where = join(f"{path}.to", at)
        if found is None:
            yield Problem(where, f"no model `{other}`{suggest(other, config.models)}")
        elif found.label == name:
            yield Problem(where, f"`{other}` is the model itself")


def _goes_in_circles(config: Config, name: str) -> bool:
    for _ in range(8):
        model = config.models.get(name)
        if model is None or not model.alias:
            return False
        name = model.alias
    return True


def _target(config: Config, route: Route, path: str) -> Iterator[Problem]:
    if route.to == "models":
        if not config.models:
            yield Problem(path, "leads to models, but there are none; add `models`, or name a backend in `to`")
    elif route.to not in config.backends:
        yield Problem(f"{path}.to", f"no backend `{route.to}`{suggest(route.to, {*config.backends, 'models'})}")

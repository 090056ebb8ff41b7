"""Engines that share memory: what can be loaded at all, what nobody may load, what is not counted."""

from collections.abc import Iterator, Mapping

from gateway.loader import load_backend
from gateway.settings.problem import ConfigError, Problem
from gateway.settings.schema import Config
from gateway.settings.terms import Terms, read_terms


def check_memory(config: Config) -> Iterator[Problem]:
    """Every engine fits beside those that always stay, and somebody may make the others give way."""
    terms = dict(_terms(config))
    pinned = {name: each for name, each in terms.items() if each.is_pinned}
    for name, each in terms.items():
        yield from _room(config, name, each, pinned)
    shares = bool(config.memory) or any(each.group for each in terms.values())
    if shares and config.tiers and not any(tier.may_evict for tier in config.tiers.values()):
        message = "no tier `may_evict`: while memory is taken, models that are not loaded are refused to everybody"
        yield Problem("tiers", message, "warning")
    for name, model in config.models.items():
        if (model.preload or model.pin) and model.backend in config.backends and model.backend not in terms:
            yield Problem(f"models.{name}", f"nothing is loaded here: somebody else runs `{model.backend}`", "warning")


def _terms(config: Config) -> Iterator[tuple[str, Terms]]:
    """Those of the engines that are started here; what cannot be loaded is told elsewhere."""
    for name, settings in config.backends.items():
        try:
            backend = load_backend(name, *settings.engine)
        except ConfigError:
            continue
        if backend.launch(0) is not None and not backend.problems():
            yield name, read_terms(config, name, backend.memory())


def _room(config: Config, name: str, terms: Terms, pinned: Mapping[str, Terms]) -> Iterator[Problem]:
    path = f"backends.{name}"
    others = [each for other, each in pinned.items() if other != name]
    if config.memory and not terms.memory:
        message = "nobody knows how much memory it takes, so it is not counted; write `memory: 2GB`"
        yield Problem(path, message, "warning")
    if config.memory and terms.memory + sum(each.memory for each in others) > config.memory:
        beside = " beside those that are pinned" if others else ""
        message = f"takes {terms.memory:,} bytes: it never fits into `memory: {config.memory}`{beside}"
        yield Problem(path, message, "warning")
    if terms.group and any(each.group == terms.group for each in others):
        yield Problem(f"{path}.group", f"another of `{terms.group}` is pinned or loaded at the start: it never goes")

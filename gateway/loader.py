"""From a name in the config to a plugin or a backend. Only names that the config lists are ever imported, and those
that a backend of the config asks for in its own place (`resolve`).

A name is a module of the package `plugins` or `backends`; third parties register theirs as entry points of the groups
`tollkeeper.plugins` and `tollkeeper.backends`. They cannot replace ours.
"""

import importlib
import importlib.util
import pkgutil
from importlib.metadata import entry_points
from typing import Any, Literal

import msgspec

from gateway.backend import AnyBackend, BaseBackend, BaseSettings
from gateway.plugin import AnyPlugin, BasePlugin
from gateway.settings.problem import ConfigError, Problem, suggest
from gateway.settings.shape import compare, convert_unit

Kind = Literal["plugin", "backend"]


def load_plugin(name: str, raw: Any) -> AnyPlugin:
    """The plugin `name` with its settings; raises ConfigError with paths inside `raw`."""
    settings, plugin = _find("plugin", name, BasePlugin)
    loaded: AnyPlugin = plugin(_convert(raw, settings))
    return loaded


def load_backend(name: str, engine: str, raw: Any) -> AnyBackend:
    """The backend called `name` in the config, of the kind `engine`; raises ConfigError with paths inside `raw`."""
    settings, backend = _find("backend", engine, BaseBackend)
    loaded: AnyBackend = backend(name, _convert(raw, settings))
    return loaded.resolve(lambda other, theirs: load_backend(name, other, theirs))


def find_settings(kind: Kind, name: str) -> type[BaseSettings]:
    """The settings that a plugin or backend takes: their schema. Raises ConfigError."""
    return _find(kind, name, BasePlugin if kind == "plugin" else BaseBackend)[0]


def known_names(kind: Kind) -> list[str]:
    """Every name that the config may list, found without importing any."""
    package = importlib.import_module(f"{kind}s")
    own = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted({*own, *entry_points(group=f"tollkeeper.{kind}s").names})


def _find(kind: Kind, name: str, base: type) -> tuple[type[BaseSettings], type[Any]]:
    """The `Settings` and the class of a module, checked to be what the contract says."""
    module = _import(kind, name)
    settings, found = getattr(module, "Settings", None), getattr(module, kind.capitalize(), None)
    if not (isinstance(settings, type) and issubclass(settings, BaseSettings)):
        raise _error(f"the {kind} `{name}` has no class `Settings` that inherits BaseSettings")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise _error(f"the {kind} `{name}` has no class `{kind.capitalize()}` that inherits {base.__name__}")
    return settings, found


def _import(kind: Kind, name: str) -> Any:
    try:
        if name.isidentifier() and importlib.util.find_spec(f"{kind}s.{name}") is not None:
            return importlib.import_module(f"{kind}s.{name}")
        registered = entry_points(group=f"tollkeeper.{kind}s", name=name)
        if registered:
            return next(iter(registered)).load()
    except ImportError as error:
        raise _error(f"the {kind} `{name}` cannot be imported: {error}") from error
    raise _error(f"unknown {kind} `{name}`{suggest(name, known_names(kind))}")


def _convert(raw: Any, settings: type[BaseSettings]) -> BaseSettings:
    problems = list(compare(raw, settings))
    if problems:
        raise ConfigError(problems)
    try:
        return msgspec.convert(raw, settings, dec_hook=convert_unit)
    except msgspec.ValidationError as error:  # a rule of the settings as a whole (`__post_init__`)
        raise _error(str(error)) from None


def _error(message: str) -> ConfigError:
    return ConfigError([Problem("", message)])

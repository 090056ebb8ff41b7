"""Models as operators and callers see them: what is loaded, load it, unload it, read what its engine printed."""

from typing import Any

from gateway.engines.registry import Engines
from gateway.link import Command, Done, Failed
from gateway.relay.registry import Registry
from gateway.settings.schema import Config

_LINES = 200  # of an engine's output


class Models:
    """Obeys `models.*`. Workers name backends, as they know the models themselves; operators name models."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def obey(self, command: Command, config: Config | None = None) -> Done | Failed:
        """`config` is the one in force, given for operators: they may name a model, or its backend."""
        arguments = dict(command.arguments)
        if config is not None and command.name == "models.list":
            return Done(_list(config, self._engines.lives()))
        if config is not None:
            asked = arguments.pop("model", "")
            found = _find_backend(config, asked)
            if found is None:
                return Failed(f"there is no model and no engine {asked!r}")
            arguments["backend"] = found
        match command.name:
            case "models.lives":
                return Done(self._engines.lives())
            case "models.load":
                return await self._engines.load(**arguments)
            case "models.unload":
                return await self._engines.unload(**arguments)
            case "models.logs" if config is not None:
                return Done(self._engines.lines(arguments["backend"], _LINES))
        return Failed(f"there is no command {command.name!r}")


def _find_backend(config: Config, asked: str) -> str | None:
    entry = Registry(config.models).find(asked)
    if entry is not None:
        return entry.backend
    return asked if asked in config.backends else None


def _list(config: Config, lives: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each model of the configuration; `remote` are those of servers that somebody else runs."""
    registry = Registry(config.models)
    rows = []
    for name, model in config.models.items():
        entry = registry.find(model.alias) if model.alias else None
        backend = entry.backend if entry is not None else model.backend
        rows.append({"model": name, "backend": backend, **lives.get(backend, {"status": "remote"})})
    return rows

"""What clients may ask for by `model`: names, aliases and patterns of the configuration, resolved to a backend."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from gateway.exchange import Credential
from gateway.price import Rates, compile_price
from gateway.settings.schema import Fallback, Model

_ID = re.compile(r"[A-Za-z0-9][\w.:@+-]{0,127}(?:/[\w.:@+-]{1,127}){0,3}", re.ASCII)
_KEPT = 4096  # names resolved by pattern that are remembered


class Entry(msgspec.Struct, frozen=True):
    """A resolved model. `label` stands in metrics: a name of the configuration, never one that a client made up."""

    name: str
    label: str
    backend: str
    upstream: str  # what the configuration says the server calls it; empty: as the backend decides
    cost: int  # milli-units a unit of route cost
    projects: tuple[str, ...] = ()  # whose callers alone may use it; empty: everybody's
    price: Rates | None = None
    fallback: tuple[str, ...] = ()  # models to ask in its place ...
    falls_on: tuple[str, ...] = ()  # ... on these conditions

    def priced_as(self, other: "Entry") -> "Entry":
        """This model at the cost and price of another one."""
        return msgspec.structs.replace(self, cost=other.cost, price=other.price)


def is_model_id(text: str) -> bool:
    """Whether `text` may be a model's id at all: ids are looked up, never used as a path, but they reach servers."""
    return _ID.fullmatch(text) is not None and ".." not in text


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether a scope allows `name`: an empty scope allows everything."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def may_use_model(credential: Credential | None, name: str) -> bool:
    return credential is None or (matches(credential.models, name) and matches(credential.key_models, name))


def may_see_model(credential: Credential | None, entry: Entry) -> bool:
    """Whether a model exists at all for a caller."""
    return may_use_model(credential, entry.name) and is_of_project(credential, entry.projects)


def is_of_project(credential: Credential | None, projects: Sequence[str]) -> bool:
    """Whether something of these projects is open to the caller; what is of none is everybody's."""
    return not projects or (credential is not None and credential.project in projects)


def may_use_route(credential: Credential, path: str) -> bool:
    return matches(credential.routes, path) and matches(credential.key_routes, path)


class Registry:
    """The `models` of a configuration. Exact names win over patterns, longer patterns over shorter ones."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models
        self._exact = {name for name in models if "*" not in name and "?" not in name}
        self._patterns = sorted(models.keys() - self._exact, key=lambda p: (-len(p), p))
        self._found: dict[str, Entry] = {}

    def find(self, asked: str) -> Entry | None:
        """The model that a client's name stands for, aliases followed; None if there is none."""
        found = self._found.get(asked)
        if found is None and (found := self._resolve(asked)) is not None:
            if len(self._found) >= _KEPT:
                self._found.clear()
            self._found[asked] = found
        return found

    def visible(self, credential: Credential | None) -> list[str]:
        """The names that a credential may ask for; patterns are not listed."""
        names = []
        for name in self._models:
            entry = self.find(name) if name in self._exact else None
            if entry is not None and may_see_model(credential, entry):
                names.append(name)
        return names

    def _resolve(self, asked: str) -> Entry | None:
        name = asked
        for _ in range(8):  # `check` refuses circles
            label = name if name in self._exact else self._match(name)
            if label is None:
                return None
            model = self._models[label]
            if not model.alias:
                price = None if model.price is None else compile_price(model.price)
                fallback = model.fallback or Fallback(to=())
                return Entry(
                    name, label, model.backend, model.name, round(model.cost * 1000), model.projects, price,
                    fallback.to, fallback.on,
                )  # fmt: skip
            name = model.alias
        return None

    def _match(self, name: str) -> str | None:
        if not is_model_id(name):
            return None
        return next((pattern for pattern in self._patterns if fnmatchcase(name, pattern)), None)

"""Path -> route. The number of routes does not matter: a look-up is one dictionary access per path segment."""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar


class Routed(Protocol):
    """What can be routed to: `path` is exact or ends in `/*`; `methods` may be empty for all."""

    @property
    def path(self) -> str: ...
    @property
    def methods(self) -> frozenset[str]: ...


_NONE: frozenset[str] = frozenset()
R = TypeVar("R", bound=Routed)


class Router(Generic[R]):
    """Finds the route of a normalised path. Exact paths win over prefixes, longer prefixes over shorter ones.

    `/files/*` matches `/files`, `/files/` and everything below, on segment boundaries only. Several routes may share
    a path when their methods differ; the first in the configuration that takes the method wins.
    """

    def __init__(self, routes: Iterable[R]) -> None:
        self._exact: dict[str, list[R]] = {}
        self._below: dict[str, list[R]] = {}
        for route in routes:
            if route.path.endswith("/*"):
                self._below.setdefault(route.path[:-2], []).append(route)
            else:
                self._exact.setdefault(route.path, []).append(route)

    def find(self, method: str, path: str) -> tuple[R | None, frozenset[str]]:
        """The route, or None and the methods that the path would take (empty: no such path)."""
        for route in self._exact.get(path, ()):
            if not route.methods or method in route.methods:
                return route, _NONE
        allowed = _NONE
        for candidates in self._candidates(path):
            for route in candidates:
                if not route.methods or method in route.methods:
                    return route, allowed
                allowed |= route.methods
        return None, allowed

    def _candidates(self, path: str) -> Iterable[list[R]]:
        if found := self._exact.get(path):
            yield found
        if self._below:
            stem = path
            while True:
                if found := self._below.get(stem):
                    yield found
                if not stem:
                    return
                stem = stem.rpartition("/")[0]

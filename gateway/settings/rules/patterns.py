"""Patterns of models: one that takes what another was meant for."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import combinations

from gateway.settings.problem import Problem
from gateway.settings.schema import Config

_MOST = 200  # patterns; more are not compared with each other


def check_patterns(config: Config) -> Iterator[Problem]:
    """Two patterns that share some names, neither being a part of the other, lead to the same place.

    The longer one wins. If it is a part of the other, everybody expects that; if they merely cross, nobody does.
    """
    patterns = [name for name in config.models if "*" in name or "?" in name][:_MOST]
    for first, second in combinations(patterns, 2):
        one, two = config.models[first], config.models[second]
        if (one.backend, one.alias, one.name) == (two.backend, two.alias, two.name):
            continue
        if fnmatchcase(first, second) or fnmatchcase(second, first) or not _meet(first, second):
            continue
        winner = min((first, second), key=lambda pattern: (-len(pattern), pattern))
        other = second if winner == first else first
        message = f"some names match `{other}` as well; they go to `{winner}`: write one that says which is meant"
        yield Problem(f"models.{second}", message, "warning")


@lru_cache(1024)
def _meet(one: str, two: str) -> bool:
    """Whether some name matches both."""
    if not one or not two:
        return not (one or two).strip("*")
    if one[0] == "*":
        return _meet(one[1:], two) or _meet(one, two[1:])
    if two[0] == "*":
        return _meet(one, two[1:]) or _meet(one[1:], two)
    return (one[0] == two[0] or "?" in (one[0], two[0])) and _meet(one[1:], two[1:])

"""What is wrong with a configuration, told so that the reader can mend it."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong. `path` is where (`tiers.free.rate`), `line` is that of the file, 0 when unknown.

    An "error" keeps the configuration from being used; a "warning" does not; a "note" is nothing wrong at all, but
    what was decided where the file leaves it open.
    """

    path: str
    message: str
    level: Literal["error", "warning", "note"] = "error"
    line: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds everything that is wrong, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def suggest(name: str, known: Iterable[str]) -> str:
    """`, did you mean ...?` for the nearest of `known`, else the list of them where it is short, else nothing."""
    names = sorted(known)
    if nearest := difflib.get_close_matches(name, names, 1):
        return f", did you mean `{nearest[0]}`?"
    return f"; known are {', '.join(names)}" if 0 < len(names) <= 20 else ""


def join(path: str, key: str | int) -> str:
    """The path of an entry of the mapping or list at `path`: `tiers.free`, `routes[2]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key

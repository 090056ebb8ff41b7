"""One line of the results, and how figures are taken: in turns, with medians."""

import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

T = TypeVar("T")


class Options(NamedTuple):
    """How long each run is, in seconds, and how often A and B take turns."""

    seconds: float
    rounds: int


class Figure(msgspec.Struct, frozen=True):
    """`row` is that of the budgets. `peer` is what ours is compared with, if there is one; `ratio` is ours / peer."""

    row: int
    what: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    target: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None


def alternate(subjects: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run all subjects in turn, `rounds` times over, so that a noisy moment hits them alike."""
    taken: dict[str, list[T]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, run in subjects.items():
            taken[name].append(run())
    return taken


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Key by key; a key that some runs lack counts as 0 there."""
    keys = {key for run in runs for key in run}
    return {key: statistics.median(run.get(key, 0.0) for run in runs) for key in keys}

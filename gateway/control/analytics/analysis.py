"""A question and its answer: groups of figures, the largest first, beside those of the time before."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import add
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Connection

from gateway.control.analytics.figures import Kind, Opinions
from gateway.control.analytics.question import Group, Question, Sums, read_opinions, read_sums
from gateway.control.analytics.window import Window

F = TypeVar("F")


class Part(msgspec.Struct, Generic[F], frozen=True):
    """One group: the values it was grouped `by`, and figures; `previous` where they were compared."""

    by: dict[str, str]
    figures: F
    previous: F | None = None


class Analysis(msgspec.Struct, Generic[F], frozen=True):
    """`begin` and `end` are what the time asked about was widened to. `left_out` groups were smaller still."""

    begin: str
    end: str
    figures: F | None
    previous: F | None
    groups: list[Part[F]]
    left_out: int


class _Reading:
    """What is read of one window. Opinions are read once, of all groups: they are looked for one by one."""

    def __init__(self, connection: Connection, kind: Kind, question: Question, window: Window) -> None:
        self._connection = connection
        self._kind = kind
        self._question = question
        self._window = window
        self._opinions: Mapping[Group, Opinions] = {}
        if kind.has_opinions:
            self._opinions = read_opinions(connection, question, window)

    def tell_all(self) -> Any:
        """The figures of all groups together, None where nothing was asked."""
        labels: dict[str, tuple[int, float]] = {}
        for opinions in self._opinions.values():
            for label, count, score in opinions:
                labels[label] = tuple(map(add, labels.get(label, (0, 0.0)), (count, score)))
        sums = self._read(by=(), bucket=None)
        return self._make(sums[()], [(label, *both) for label, both in labels.items()]) if sums else None

    def find_largest(self, top: int) -> tuple[list[Group], int]:
        """The groups that are told, and how many are not. Measures are a hundred columns: here it is one of them."""
        sizes = self._read(measures=(self._kind.sort,))
        groups = _choose(sizes, self._question, top)
        return groups, len(sizes) - len(groups)

    def tell(self, groups: Sequence[Group], are_some: bool) -> dict[Group, Any]:
        """The figures of each of the groups that there was anything of; `are_some`: there are others."""
        width = len(self._question.by)
        among = tuple(dict.fromkeys(group[:width] for group in groups)) if are_some else ()
        sums = self._read(among=among)
        return {group: self._make(sums[group], self._opinions.get(group, ())) for group in groups if group in sums}

    def _read(self, **changes: Any) -> Sums:
        return read_sums(self._connection, msgspec.structs.replace(self._question, **changes), self._window)

    def _make(self, values: Sequence[int], opinions: Opinions) -> Any:
        sums = dict(zip(self._kind.measures, values, strict=True))
        return self._kind.make(sums, self._window.seconds, opinions)


def analyse(
    connection: Connection, kind: Kind, question: Question, window: Window, previous: Window | None, top: int
) -> Analysis[Any]:
    """The answer to `question`, whose measures are those of `kind`. Raises TooMany."""
    question = msgspec.structs.replace(question, measures=kind.measures)
    now = _Reading(connection, kind, question, window)
    before = None if previous is None else _Reading(connection, kind, question, previous)
    groups, left_out = now.find_largest(top) if question.is_grouped else ([], 0)
    shift = 0 if previous is None else window.begin - previous.begin
    told = now.tell(groups, left_out > 0) if groups else {}
    old: dict[Group, Any] = {}
    if before is not None and groups:
        old = before.tell([_shift(group, question, shift) for group in groups], left_out > 0)
    parts = [
        Part(_name(group, question), told[group], old.get(_shift(group, question, shift)))
        for group in groups
        if group in told
    ]
    return Analysis(
        show(window.begin), show(window.end), now.tell_all(), None if before is None else before.tell_all(), parts,
        left_out,
    )  # fmt: skip


def show(moment: int) -> str:
    return datetime.fromtimestamp(moment // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _choose(sums: Sums, question: Question, top: int) -> list[Group]:
    """The groups of the `top` largest; of each its buckets in their order."""
    buckets: dict[Group, list[Group]] = {}
    for group in sums:
        buckets.setdefault(group[:-1] if question.bucket else group, []).append(group)
    sizes = {whole: sum(sums[group][0] for group in groups) for whole, groups in buckets.items()}
    largest = sorted(sizes, key=lambda whole: (-sizes[whole], whole))[:top]
    return [group for whole in largest for group in sorted(buckets[whole])]


def _shift(group: Group, question: Question, by: int) -> Group:
    return (*group[:-1], group[-1] - by) if question.bucket else group


def _name(group: Group, question: Question) -> dict[str, str]:
    named = dict(zip(question.by, group, strict=False))
    return {**named, question.bucket: show(group[-1])} if question.bucket else named

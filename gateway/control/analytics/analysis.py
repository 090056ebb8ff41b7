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


class _Answer:
    """What was read of one window."""

    def __init__(self, connection: Connection, kind: Kind, question: Question, window: Window) -> None:
        self._kind = kind
        self._window = window
        self.sums: Sums = read_sums(connection, question, window)
        self._opinions: Mapping[Group, Opinions] = {}
        if kind.has_opinions:
            self._opinions = read_opinions(connection, question, window)

    def tell(self, group: Group) -> Any:
        """The figures of a group, None where nothing was asked."""
        values = self.sums.get(group)
        return None if values is None else self._make(values, self._opinions.get(group, ()))

    def tell_all(self) -> Any:
        """The figures of all groups together."""
        if not self.sums:
            return None
        total = [sum(column) for column in zip(*self.sums.values(), strict=True)]
        labels: dict[str, tuple[int, float]] = {}
        for opinions in self._opinions.values():
            for label, count, score in opinions:
                labels[label] = tuple(map(add, labels.get(label, (0, 0.0)), (count, score)))
        return self._make(total, [(label, *both) for label, both in labels.items()])

    def _make(self, values: Sequence[int], opinions: Opinions) -> Any:
        sums = dict(zip(self._kind.measures, values, strict=True))
        return self._kind.make(sums, self._window.seconds, opinions)


def analyse(
    connection: Connection, kind: Kind, question: Question, window: Window, previous: Window | None, top: int
) -> Analysis[Any]:
    """The answer to `question`, whose measures are those of `kind`. Raises TooMany."""
    question = msgspec.structs.replace(question, measures=kind.measures)
    now = _Answer(connection, kind, question, window)
    before = None if previous is None else _Answer(connection, kind, question, previous)
    shift = 0 if previous is None else window.begin - previous.begin
    parts = []
    for group in _choose(now.sums, question, kind.measures.index(kind.sort), top):
        old = None if before is None else before.tell(_shift(group, question, shift))
        parts.append(Part(_name(group, question), now.tell(group), old))
    return Analysis(
        show(window.begin), show(window.end), now.tell_all(), None if before is None else before.tell_all(), parts,
        len(now.sums) - len(parts) if question.is_grouped else 0,
    )  # fmt: skip


def show(moment: int) -> str:
    return datetime.fromtimestamp(moment // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _choose(sums: Sums, question: Question, at: int, top: int) -> list[Group]:
    """The groups of the `top` largest by the sum at `at`; of each its buckets in their order."""
    if not question.is_grouped:
        return []
    buckets: dict[Group, list[Group]] = {}
    for group in sums:
        buckets.setdefault(group[:-1] if question.bucket else group, []).append(group)
    sizes = {whole: sum(sums[group][at] for group in groups) for whole, groups in buckets.items()}
    largest = sorted(sizes, key=lambda whole: (-sizes[whole], whole))[:top]
    return [group for whole in largest for group in sorted(buckets[whole])]


def _shift(group: Group, question: Question, by: int) -> Group:
    return (*group[:-1], group[-1] - by) if question.bucket else group


def _name(group: Group, question: Question) -> dict[str, str]:
    named = dict(zip(question.by, group, strict=False))
    return {**named, question.bucket: show(group[-1])} if question.bucket else named

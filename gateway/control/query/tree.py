"""Filters as a tree, for what parameters cannot say: `{"and": [{"field": "model", "op": "eq", "value": "m"}, …]}`."""

from typing import Any, Literal

import msgspec

from gateway.control.query.condition import Condition, Every, Frame, Not, Refusal, Some, compare

_DEEPEST = 8
_MOST = 100  # clauses

Op = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "prefix", "exists", "text"]


class Clause(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of `and`, `or`, `not`, or a comparison: `field`, `op` and `value`."""

    every: tuple["Clause", ...] | None = msgspec.field(name="and", default=None)
    some: tuple["Clause", ...] | None = msgspec.field(name="or", default=None)
    denied: "Clause | None" = msgspec.field(name="not", default=None)
    field: str | None = None
    op: Op = "eq"
    value: Any = None


def read_tree(clause: Clause, frame: Frame) -> Condition:
    """Raises Refusal: it is too large, or a clause says nothing that can be understood."""
    if _count(clause, 1) > _MOST:
        raise Refusal(f"a filter has at most {_MOST} clauses", "filter")
    return _read(clause, frame)


def _count(clause: Clause, depth: int) -> int:
    if depth > _DEEPEST:
        raise Refusal(f"a filter nests at most {_DEEPEST} deep", "filter")
    below = (*(clause.every or ()), *(clause.some or ()), *((clause.denied,) if clause.denied is not None else ()))
    return 1 + sum(_count(part, depth + 1) for part in below)


def _read(clause: Clause, frame: Frame) -> Condition:
    said = [clause.every, clause.some, clause.denied, clause.field]
    if sum(part is not None for part in said) != 1:
        raise Refusal("each clause has exactly one of and, or, not, field", "filter")
    if clause.every is not None:
        return Every(tuple([_read(part, frame) for part in clause.every]))
    if clause.some is not None:
        return Some(tuple([_read(part, frame) for part in clause.some]))
    if clause.denied is not None:
        return Not(_read(clause.denied, frame))
    assert clause.field is not None
    return compare(clause.field, clause.op, clause.value, frame)

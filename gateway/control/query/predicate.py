"""Conditions on a row at hand: requests that are still open, and those that a live tail passes by."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from gateway.control.query.condition import Compare, Condition, Every, Not, Some, Words
from gateway.control.query.fields import FIELDS

Predicate = Callable[[Any], bool]

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge,
    "in": lambda has, values: has in values,
    "contains": operator.contains,
    "prefix": str.startswith,
    "tagged": lambda has, value: value in has.split(","),
}  # fmt: skip


def to_predicate(condition: Condition) -> Predicate:
    """The condition as a function of a row, which has the columns of `requests` as attributes.

    What was asked and answered is not at hand: a search for words finds nothing.
    """
    match condition:
        case Every(parts):
            each = [to_predicate(part) for part in parts]
            return lambda row: all(holds(row) for holds in each)
        case Some(parts):
            each = [to_predicate(part) for part in parts]
            return lambda row: any(holds(row) for holds in each)
        case Not(part):
            denied = to_predicate(part)
            return lambda row: not denied(row)
        case Words():
            return lambda row: False
        case Compare():
            return _compare(condition)


def _compare(condition: Compare) -> Predicate:
    field, value = FIELDS[condition.field], condition.value
    get = field.value
    if condition.op == "exists":
        return lambda row: (has := get(row)) is not None and has != field.empty
    holds = _COMPARE[condition.op]
    return lambda row: (has := get(row)) is not None and holds(has, value)

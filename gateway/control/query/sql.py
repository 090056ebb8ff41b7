"""Conditions as SQL. What a caller wrote travels as a parameter, or as words of letters and digits."""

import operator
from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, func, literal_column, not_, or_, true

from gateway.control.api.scope import Scope
from gateway.control.query.condition import FAILED, Compare, Condition, Every, Not, Some, Words
from gateway.control.query.fields import FIELDS
from gateway.control.query.fulltext import count, find_ids, look_into
from gateway.control.tables import GOOD, requests

# In the very words of the partial index, or the database would not know it again.
FAILED_TEXT = f"({' AND '.join(f'outcome != {good!r}' for good in GOOD)})"
_COMMON = 1000  # texts
_NARROW = ("id", "trace_id", "session_id", "user_id")
_UNINDEXED: Any = SimpleNamespace(
    c=SimpleNamespace(**{name: literal_column(f"+requests.{name}") for name in ("consumer", "project")})
)
_NOTHING: ColumnElement[str] = literal_column("''")

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge,
    "in": lambda has, values: has.in_(values),
    "prefix": lambda has, value: func.substr(has, 1, len(value)) == value,
}  # fmt: skip


def to_sql(condition: Condition, dialect: str, common: Collection[Words] = ()) -> ColumnElement[bool]:
    """The condition on rows of `requests`; `dialect` is sqlite or postgresql, `common` as `find_common` has it."""
    if condition == FAILED:
        return literal_column(FAILED_TEXT)  # none of the stored is pending
    match condition:
        case Every(parts):
            return and_(true(), *[to_sql(part, dialect, common) for part in parts])
        case Some(parts):
            return or_(false(), *[to_sql(part, dialect, common) for part in parts])
        case Not(part):
            return not_(to_sql(part, dialect, common))
        case Words(phrases):
            if condition in common:
                return look_into(phrases)
            return requests.c.id.in_(find_ids(phrases, dialect))
        case Compare():
            return _compare(condition, dialect)


def _compare(condition: Compare, dialect: str) -> ColumnElement[bool]:
    field = FIELDS[condition.field]
    has, value = field.value(requests.c), condition.value
    find = func.instr if dialect == "sqlite" else func.strpos
    there = has.is_not(None) if getattr(has, "nullable", False) else true()  # else `not` would be unknown, too
    if condition.op == "exists":
        return there if field.empty is None else and_(there, has != field.empty)
    if condition.op == "contains":
        return find(has, value) > 0
    if condition.op == "tagged":
        return find("," + has + ",", f",{value},") > 0
    found: ColumnElement[bool] = and_(there, _COMPARE[condition.op](has, value))
    return _help_planner(condition, found) if condition.op in ("eq", "in") else found


def _help_planner(condition: Compare, found: ColumnElement[bool]) -> ColumnElement[bool]:
    """Say of a row that is found what the partial indexes say of theirs."""
    rows, value = requests.c, condition.value
    if "" in (value if condition.op == "in" else (value,)):
        return found
    if condition.field in ("session_id", "user_id", "project_id"):
        return and_(FIELDS[condition.field].value(rows) != _NOTHING, found)
    if condition.field == "trace_id":  # one that begins with the request has the request's id
        return or_(and_(rows.parent != _NOTHING, found), and_(_COMPARE[condition.op](rows.id, value), found))
    return found


def of_scope(scope: Scope, condition: Condition, dialect: str) -> ColumnElement[bool]:
    """Whose rows. SQLite keeps no statistics: where the condition has a narrower index it is not offered this one."""
    if dialect == "sqlite" and _is_narrow(condition):
        return scope.of(_UNINDEXED)
    mine = scope.of(requests)
    return and_(requests.c.project != _NOTHING, mine) if scope.project and not scope.everything else mine


def find_common(connection: Connection, condition: Condition) -> Collection[Words]:
    """The searches in it that find so much that SQLite had better look at rows one by one, in their order."""
    if connection.dialect.name != "sqlite":
        return ()
    return [words for words in _list_words(condition) if count(connection, words.phrases, _COMMON) == _COMMON]


def _is_narrow(condition: Condition) -> bool:
    match condition:
        case Every(parts):
            return any(map(_is_narrow, parts))
        case Some((part,)):
            return _is_narrow(part)
        case Compare(field, op, value):
            return field in _NARROW and op in ("eq", "in") and "" not in (value if op == "in" else (value,))
        case _:
            return False


def _list_words(condition: Condition) -> list[Words]:
    match condition:
        case Every(parts) | Some(parts):
            return [words for part in parts for words in _list_words(part)]
        case Not(part):
            return _list_words(part)
        case Words():
            return [condition]
        case _:
            return []

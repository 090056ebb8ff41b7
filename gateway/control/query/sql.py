"""Conditions as SQL. What a caller wrote travels as a parameter, or as words of letters and digits."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, column, false, func, literal_column, not_, or_, select, table, true

from gateway.control.query.condition import FAILED, Compare, Condition, Every, Not, Some, Words
from gateway.control.query.fields import FIELDS, GOOD
from gateway.control.query.words import Phrase
from gateway.control.tables import contents, requests

_index = table("contents_text", column("rowid"))
# In the very words of the partial index, or the database would not know it again.
FAILED_TEXT = f"(outcome NOT IN ({', '.join(map(repr, GOOD))}))"
_NOTHING: ColumnElement[str] = literal_column("''")

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge,
    "in": lambda has, values: has.in_(values),
    "prefix": lambda has, value: func.substr(has, 1, len(value)) == value,
}  # fmt: skip


def to_sql(condition: Condition, dialect: str) -> ColumnElement[bool]:
    """The condition on rows of `requests`; `dialect` is sqlite or postgresql."""
    if condition == FAILED:
        return literal_column(FAILED_TEXT)  # none of the stored is pending
    match condition:
        case Every(parts):
            return and_(true(), *[to_sql(part, dialect) for part in parts])
        case Some(parts):
            return or_(false(), *[to_sql(part, dialect) for part in parts])
        case Not(part):
            return not_(to_sql(part, dialect))
        case Words(phrases):
            return requests.c.id.in_(_search(phrases, dialect))
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
    if condition.field in ("session_id", "user_id"):
        return and_(FIELDS[condition.field].value(rows) != _NOTHING, found)
    if condition.field == "trace_id":  # one that begins with the request has the request's id
        return or_(and_(rows.parent != _NOTHING, found), and_(_COMPARE[condition.op](rows.id, value), found))
    return found


def _search(phrases: tuple[Phrase, ...], dialect: str) -> Any:
    """The ids whose texts hold the phrases."""
    found = select(contents.c.id)
    if dialect == "sqlite":
        wanted = " AND ".join(f'"{" ".join(phrase)}"' for phrase in phrases)
        numbers = select(_index.c.rowid).where(literal_column("contents_text").op("MATCH")(wanted))
        return found.where(literal_column("contents.number").in_(numbers))
    return found.where(*[
        literal_column("contents.words").op("@@")(func.phraseto_tsquery(literal_column("'simple'"), " ".join(phrase)))
        for phrase in phrases
    ])  # fmt: skip

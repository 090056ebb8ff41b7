"""Conditions on traces as a tree of values, in stored units. `sql` and `predicate` are its two readers.

Everything that a caller can get wrong is found here, before a database is asked.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.control.query.fields import FIELDS, PENDING, Field
from gateway.control.query.moment import parse_moment
from gateway.control.query.words import Phrase, parse_text
from gateway.control.tables import GOOD

_LONGEST = 1000  # characters of a value
_MOST_VALUES = 100  # of one `in`
_LARGEST = 2**62
_ORDER = frozenset(("lt", "lte", "gt", "gte"))
_OPS: Mapping[str, frozenset[str]] = {
    "text": frozenset(("eq", "ne", "in", "contains", "prefix", "exists")),
    "number": _ORDER | {"eq", "ne", "in", "exists"},
    "moment": _ORDER | {"eq", "ne", "exists"},
    "truth": frozenset(("eq", "ne")),
    "tags": frozenset(("contains", "exists")),
    "status": frozenset(("eq", "ne", "in")),
    "full text": frozenset(("text",)),
}
_STATUS = ("success", "error", PENDING)


class Compare(msgspec.Struct, frozen=True):
    """`op` is one of eq, lt, lte, gt, gte, in, contains, prefix, exists, tagged."""

    field: str
    op: str
    value: Any


class Words(msgspec.Struct, frozen=True):
    """All phrases in what was asked and answered."""

    phrases: tuple[Phrase, ...]


class Every(msgspec.Struct, frozen=True):
    """All of them; without any: true."""

    parts: tuple["Condition", ...] = ()


class Some(msgspec.Struct, frozen=True):
    """One of them at least; without any: false."""

    parts: tuple["Condition", ...] = ()


class Not(msgspec.Struct, frozen=True):
    part: "Condition"


Condition = Compare | Words | Every | Some | Not


class Frame(msgspec.Struct, frozen=True):
    """What a condition needs to know beside itself: when it is asked (unix microseconds), and of which environment."""

    now: int
    environment: str = ""


class Refusal(Exception):
    """A condition that is not allowed: the text says why, `field` names what it is about."""

    def __init__(self, text: str, field: str) -> None:
        super().__init__(text)
        self.field = field


def compare(name: str, op: str, value: Any, frame: Frame) -> Condition:
    """One comparison as a caller writes it. Raises Refusal."""
    kind, field = _find(name)
    if op not in _OPS[kind]:
        raise Refusal(f"{name} has no {op[:32]!r}; it has {', '.join(sorted(_OPS[kind]))}", name)
    if op == "ne":
        return Not(compare(name, "eq", value, frame))
    try:
        if kind == "full text":
            return Words(parse_text(_read_text(value)))
        if op == "exists":
            return _exists(name, value)
        values = _read_several(value) if op == "in" else (value,)
        if kind == "status":
            return Some(tuple(map(_of_status, values)))
        if name == "environment":
            return Every() if _matches(op, frame.environment, tuple(map(_read_text, values))) else Some()
        assert field is not None
        stored = tuple(one for value in values if (one := _read(field, op, value, frame.now)) is not None)
    except ValueError as error:
        raise Refusal(f"{name}: {error}", name) from None
    if not stored:
        return Some()
    return Compare(name, "tagged" if kind == "tags" else op, stored if op == "in" else stored[0])


def _find(name: str) -> tuple[str, Field | None]:
    special = {"status": "status", "text": "full text", "environment": "text"}.get(name)
    if special is not None:
        return special, None
    field = FIELDS.get(name)
    if field is None:
        known = ", ".join(sorted([*FIELDS, "environment", "status", "text"]))
        raise Refusal(f"there is no field {name[:64]!r}; there are {known}", name[:64])
    return field.kind, field


def _exists(name: str, value: Any) -> Condition:
    if not isinstance(value, bool):
        raise ValueError("exists takes true or false")
    found: Condition = Compare(name, "exists", None) if name != "environment" else Every()
    return found if value else Not(found)


def _of_status(value: Any) -> Condition:
    if value not in _STATUS:
        raise ValueError(f"it is one of {', '.join(_STATUS)}")
    if value == "success":
        return Compare("outcome", "in", GOOD)
    pending = Compare("outcome", "eq", PENDING)
    return pending if value == PENDING else FAILED


FAILED = Not(Compare("outcome", "in", (*GOOD, PENDING)))


def _matches(op: str, has: str, values: Sequence[str]) -> bool:
    if op == "contains":
        return values[0] in has
    return has.startswith(values[0]) if op == "prefix" else has in values


def _read(field: Field, op: str, value: Any, now: int) -> Any:
    """A value as it is stored; None where nothing that is stored can be equal to it. Raises ValueError."""
    if field.kind == "moment":
        return parse_moment(_read_text(value), now)
    if field.kind == "truth":
        if not isinstance(value, bool):
            raise ValueError("it is true or false")
        return value
    return _read_number(field, op, value) if field.kind == "number" else _read_text(value)


def _read_number(field: Field, op: str, value: Any) -> int | None:
    """Stored are whole numbers: what lies between two of them is compared by the neighbour that says the same."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it is a number")
    if not abs(value) * field.scale < _LARGEST:
        raise ValueError("the number is too large")
    exact = value * field.scale
    nearest = round(exact)
    if abs(exact - nearest) <= 1e-9 * max(1.0, abs(exact)):  # 0.1 ms are 100 us, whatever fractions make of it
        return nearest
    if op in _ORDER:
        return math.floor(exact) if op in ("gt", "lte") else math.ceil(exact)
    return None


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is a text")
    if len(value) > _LONGEST:
        raise ValueError(f"a value has at most {_LONGEST} characters")
    if "\0" in value:
        raise ValueError("a value holds no NUL")
    return value


def _read_several(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("in takes a list")
    if not 1 <= len(value) <= _MOST_VALUES:
        raise ValueError(f"in takes 1 to {_MOST_VALUES} values")
    return tuple(value)


def has_words(condition: Condition) -> bool:
    """Whether texts are searched in it."""
    match condition:
        case Every(parts) | Some(parts):
            return any(map(has_words, parts))
        case Not(part):
            return has_words(part)
        case _:
            return isinstance(condition, Words)

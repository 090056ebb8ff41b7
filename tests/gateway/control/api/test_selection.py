"""`?fields=`: members of the data, chosen by name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.api.selection import parse_fields, select

DATA = {"a": 1, "b": {"c": 2, "d": [{"e": 3, "f": 4}]}, "g": None}


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ("", DATA),
        ("a", {"a": 1}),
        ("a,g", {"a": 1, "g": None}),
        ("b.c", {"b": {"c": 2}}),
        ("b.d.e", {"b": {"d": [{"e": 3}]}}),
        ("b.c,b.d.f", {"b": {"c": 2, "d": [{"f": 4}]}}),
        ("nothing", {}),
        ("a.b.c", {"a": 1}),
        (",,a,", {"a": 1}),
    ],
)
def test_what_is_left(fields: str, left: Any) -> None:
    assert select(DATA, parse_fields(fields)) == left
    assert select([DATA, DATA], parse_fields(fields)) == [left, left]


def test_too_many_are_refused() -> None:
    parse_fields(",".join(map(str, range(100))))
    with pytest.raises(ValueError, match="at most 100"):
        parse_fields(",".join(map(str, range(101))))


@given(st.text(alphabet="abc.,", max_size=40))
def test_whatever_is_asked_for_nothing_is_added(fields: str) -> None:
    shown = select(DATA, parse_fields(fields))
    assert shown == DATA or set(shown) <= set(DATA)

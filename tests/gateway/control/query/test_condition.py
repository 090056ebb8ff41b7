"""Conditions mean the same to the databases and to Python."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from gateway.control.query import sql
from gateway.control.query.condition import Condition, Every, Frame, Not, Refusal, Some, Words, compare
from gateway.control.query.fields import FIELDS
from gateway.control.query.moment import show_moment
from gateway.control.query.predicate import to_predicate
from gateway.control.query.sql import to_sql
from gateway.control.query.view import flatten
from gateway.control.store import Store
from gateway.control.tables import requests
from tests.gateway.control.query.rows import FEW, SECOND, make_rows, store_rows
from tests.gateway.control.records import NOON

FRAME = Frame(NOON, "production")
ROWS = make_rows(60)
FLAT = {row.opened.id: flatten(row) for row in ROWS}

_texts = st.sampled_from([*FEW, "c1", "p1", "qwen", "%", "_", ",", "refused", ROWS[0].opened.id, "f" * 32])
_numbers = st.sampled_from([0, 1, 2, 3, 0.1, 0.5, 1.5, 200, 429, 1501])
_moments = st.sampled_from(["3s", "1m", show_moment(NOON - 9 * SECOND), show_moment(NOON + SECOND)])
_orders = ("lt", "lte", "gt", "gte")


def _values(kind: str, op: str) -> st.SearchStrategy[Any]:
    if op == "exists":
        return st.booleans()
    one = {"text": _texts, "number": _numbers, "moment": _moments, "truth": st.booleans(), "tags": _texts}[kind]
    return st.lists(one, min_size=1, max_size=3) if op == "in" else one


def _comparisons() -> st.SearchStrategy[Condition]:
    ops = {
        "text": ("eq", "ne", "in", "contains", "prefix", "exists"), "number": (*_orders, "eq", "ne", "in", "exists"),
        "moment": (*_orders, "eq", "exists"), "truth": ("eq", "ne"), "tags": ("contains", "exists"),
    }  # fmt: skip
    pairs = [(name, field.kind, op) for name, field in FIELDS.items() for op in ops[field.kind]]
    plain = st.sampled_from(pairs).flatmap(
        lambda pair: _values(pair[1], pair[2]).map(lambda value: compare(pair[0], pair[2], value, FRAME))
    )
    statuses = st.sampled_from(["success", "error", "pending"]).map(lambda s: compare("status", "eq", s, FRAME))
    return plain | statuses


_conditions = st.recursive(
    _comparisons(),
    lambda below: st.one_of(
        st.lists(below, max_size=3).map(lambda parts: Every(tuple(parts))),
        st.lists(below, max_size=3).map(lambda parts: Some(tuple(parts))),
        below.map(Not),
    ),
    max_leaves=6,
)


def find(store: Store, condition: Condition) -> set[str]:
    with store.reading.connect() as connection:
        where = to_sql(condition, connection.dialect.name)
        return set(connection.scalars(select(requests.c.id).where(where)))


def test_sql_and_python_agree(any_store: Store) -> None:
    store_rows(any_store, ROWS)

    @settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(_conditions)
    def agree(condition: Condition) -> None:
        holds = to_predicate(condition)
        assert find(any_store, condition) == {id for id, row in FLAT.items() if holds(row)}

    agree()


@pytest.mark.parametrize(("field", "op", "value"), [
    ("nothing", "eq", "x"), ("model", "lt", "x"), ("model", "like", "x"), ("model", "eq", 1), ("model", "in", []),
    ("model", "in", "qwen"), ("model", "in", ["x"] * 101), ("model", "eq", "x" * 1001), ("model", "eq", "a\0"),
    ("duration_ms", "eq", "1"), ("duration_ms", "gt", True), ("duration_ms", "gt", 1e300), ("stream", "eq", "yes"),
    ("duration_ms", "gt", float("nan")), ("ts", "gt", "soon"), ("ts", "gt", "9999999999d1"), ("ts", "in", ["1h"]),
    ("status", "eq", "great"), ("status", "in", ["error", 3]), ("tags", "eq", "a"), ("text", "text", "…"),
    ("text", "text", " ".join(["word"] * 33)), ("model", "exists", "yes"), ("environment", "lt", "a"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_by_name(field: str, op: str, value: Any) -> None:
    with pytest.raises(Refusal) as caught:
        compare(field, op, value, FRAME)
    assert caught.value.field == field
    assert field in str(caught.value)


def test_values_are_read_in_the_units_that_are_told() -> None:
    assert compare("duration_ms", "gte", 0.1, FRAME).value == 100  # type: ignore[union-attr]
    assert compare("total_cost", "gte", 0.1, FRAME).value == 100_000_000  # type: ignore[union-attr]
    assert compare("units", "eq", 2, FRAME).value == 2000  # type: ignore[union-attr]
    assert compare("ts", "gte", "1h", FRAME).value == NOON - 3600 * SECOND  # type: ignore[union-attr]


@pytest.mark.parametrize(("op", "value", "holds"), [
    ("eq", "production", True), ("eq", "test", False), ("ne", "test", True), ("in", ["test", "production"], True),
    ("prefix", "prod", True), ("contains", "duct", True), ("exists", True, True), ("exists", False, False),
])  # fmt: skip
def test_the_environment_is_the_gateways(op: str, value: Any, holds: bool) -> None:
    assert to_predicate(compare("environment", op, value, FRAME))(None) is holds


TEXTS = {
    ROWS[0].opened.id: ("Where is the Eiffel tower?", "In Paris, by the river Seine."),
    ROWS[1].opened.id: ("List foo-bar; and \"quotes\" OR NOT (near) 'x'", "über straße 東京 tower"),
    ROWS[2].opened.id: ("mail joe@example.com", "café CAFÉ naïve"),
    ROWS[3].opened.id: ("", "x" * 300_000 + " needle"),
}


SEARCHES = (
    ("tower", {0, 1}), ("TOWER eiffel", {0}), ("eiffel paris", {0}), ('"eiffel tower"', {0}), ('"tower eiffel"', set()),
    ("foo-bar", {1}), ("bar-foo", set()), ("foo bar", {1}), ("bar foo", {1}), ('quotes" OR "x', {1}), ("NOT", {1}),
    ("near(", {1}), ("* ^ : { x", {1}), ("input : tower", set()), ("Straße", {1}), ("東京", {1}), ("über", {1}),
    ("example", {2}), ("joe@example.com", {2}), ("café", {2}), ("cafe", set()), ("tow", set()), ("'x' -- ;", {1}),
    ("\\ % _ x", {1}), ("or and", {1}), ("or but", set()),
)  # fmt: skip


def test_texts_are_found_by_their_words(any_store: Store) -> None:
    store_rows(any_store, ROWS[:4], TEXTS)
    for text, found in SEARCHES:
        condition = compare("text", "text", text, FRAME)
        assert isinstance(condition, Words)
        assert find(any_store, condition) == {ROWS[number].opened.id for number in found}, text


def test_words_of_many_texts_are_looked_for_row_by_row(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds the same; SQLite is only asked in another way."""
    store_rows(store, ROWS[:4], TEXTS)
    monkeypatch.setattr(sql, "_COMMON", 1)
    for text, found in SEARCHES:
        words = compare("text", "text", text, FRAME)
        with store.reading.connect() as connection:
            common = sql.find_common(connection, Some((Not(words), words)))
            assert list(common) == ([words, words] if found else [])
            for condition, expected in ((words, found), (Not(words), {0, 1, 2, 3} - found)):
                query = select(requests.c.id).where(to_sql(condition, "sqlite", common))
                assert set(connection.scalars(query)) == {ROWS[number].opened.id for number in expected}, text


def test_case_is_nothing_beyond_ascii_where_the_database_knows_letters(store: Store) -> None:
    """PostgreSQL with the locale C does not."""
    store_rows(store, ROWS[:4], TEXTS)
    assert find(store, compare("text", "text", "ÜBER", FRAME)) == {ROWS[1].opened.id}


def test_texts_that_go_are_found_no_more(any_store: Store) -> None:
    store_rows(any_store, ROWS[:4], TEXTS)
    tower = compare("text", "text", "tower", FRAME)
    with any_store.writing.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM contents WHERE id = '{ROWS[0].opened.id}'")
        connection.exec_driver_sql(f"UPDATE contents SET output = 'other' WHERE id = '{ROWS[1].opened.id}'")
    assert find(any_store, tower) == set()
    assert find(any_store, compare("text", "text", "other", FRAME)) == {ROWS[1].opened.id}

"""Whose rows a caller may see, for every kind of caller."""

import pytest
from sqlalchemy import Column, MetaData, Table, Text, create_engine, insert, select

from gateway.control.api.call import Caller
from gateway.control.api.scope import Scope, find_scope, holds

ROWS = Table("rows", MetaData(), Column("project", Text), Column("consumer", Text))
EVERYTHING, RED, BOB, NOTHING = Scope(everything=True), Scope(project="red"), Scope(consumer="bob"), Scope()


@pytest.mark.parametrize(
    ("consumer", "project", "role", "permissions", "scope"),
    [
        ("bob", "red", "root", ("*",), EVERYTHING),
        ("bob", "red", "root", ("projects:all",), EVERYTHING),
        ("bob", "red", "root", ("projects:*",), EVERYTHING),
        ("bob", "red", "viewer", ("traces:read",), RED),
        ("bob", "red", "viewer", (), RED),  # what he may do there is asked elsewhere
        ("bob", "", "viewer", ("traces:read",), BOB),
        ("bob", "red", "", ("*",), BOB),  # nobody gave him a role
        ("bob", "red", "viewer", None, BOB),  # nobody authorizes
        ("bob", "red", "root", None, BOB),
        ("", "", "", None, NOTHING),
        ("", "red", "", ("*",), NOTHING),
    ],
)
def test_a_scope(consumer: str, project: str, role: str, permissions: tuple[str, ...] | None, scope: Scope) -> None:
    assert find_scope(consumer, project, role, permissions) == scope


def test_the_operator_sees_everything() -> None:
    assert Caller("admin", is_admin=True).scope() == EVERYTHING
    assert Caller("admin", is_admin=True).may("whatever")


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (EVERYTHING, [("red", "bob"), ("red", "eve"), ("blue", "bob"), ("", "")]),
        (RED, [("red", "bob"), ("red", "eve")]),
        (BOB, [("red", "bob"), ("blue", "bob")]),
        (NOTHING, []),
    ],
)
def test_rows_of_a_scope(scope: Scope, seen: list[tuple[str, str]]) -> None:
    """In SQL and of a row at hand it is the same; nobody has the rows of those who are not known."""
    rows = [("red", "bob"), ("red", "eve"), ("blue", "bob"), ("", "")]
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        ROWS.create(connection)
        connection.execute(insert(ROWS), [{"project": project, "consumer": name} for project, name in rows])
        assert [tuple(row) for row in connection.execute(select(ROWS).where(scope.of(ROWS)))] == seen
    engine.dispose()
    assert [row for row in rows if scope.holds(*row)] == seen


@pytest.mark.parametrize(
    ("patterns", "permission", "held"),
    [
        (("traces:read",), "traces:read", True),
        (("traces:*",), "traces:read", True),
        (("*",), "traces:read", True),
        (("traces:write",), "traces:read", False),
        (("traces",), "traces:read", False),
        (("trace*",), "traces:read", False),
        ((), "traces:read", False),
    ],
)
def test_patterns_of_permissions(patterns: tuple[str, ...], permission: str, held: bool) -> None:
    assert holds(patterns, permission) is held

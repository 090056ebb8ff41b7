"""Whose rows a caller may see. Every query of every surface takes its condition from here."""

from collections.abc import Collection

import msgspec
from sqlalchemy import ColumnElement, FromClause, false, true

EVERYTHING = "projects:all"


class Scope(msgspec.Struct, frozen=True):
    """Everything, or the rows of one project, or those of one consumer. Of nobody: nothing."""

    everything: bool = False
    project: str = ""
    consumer: str = ""

    def of(self, rows: FromClause) -> ColumnElement[bool]:
        """The condition on rows with the columns `project` and `consumer`."""
        if self.everything:
            return true()
        if self.project:
            return rows.c.project == self.project
        return rows.c.consumer == self.consumer if self.consumer else false()

    def holds(self, project: str, consumer: str) -> bool:
        """The same, of one row that is at hand."""
        if self.everything:
            return True
        return project == self.project if self.project else bool(self.consumer) and consumer == self.consumer


def find_scope(
    consumer: str, project: str, role: str, permissions: Collection[str] | None, is_admin: bool = False
) -> Scope:
    """`permissions` are patterns as roles have them; None where no plugin authorizes."""
    if is_admin:
        return Scope(everything=True)
    if role and permissions is not None:
        if holds(permissions, EVERYTHING):
            return Scope(everything=True)
        if project:
            return Scope(project=project)
    return Scope(consumer=consumer)


def holds(patterns: Collection[str], permission: str) -> bool:
    """`*` holds all, `traces:*` holds `traces:read`."""
    if permission in patterns or "*" in patterns:
        return True
    return any(pattern.endswith(":*") and permission.startswith(pattern[:-1]) for pattern in patterns)

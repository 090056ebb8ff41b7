"""INSERT in the words of the database at hand, which may say what becomes of a row that is there already."""

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Insert = sqlite.Insert | postgresql.Insert


def insert_into(dialect: str, table: Table) -> Insert:
    """`dialect` is the name that SQLAlchemy has for it."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def name_columns(table: Table) -> str:
    """All of them, in the order that the code has: an upgraded table has them in another."""
    return ", ".join(f'"{column.name}"' for column in table.columns)


def insert_new(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row; False where it is there already."""
    statement = insert_into(connection.dialect.name, table).on_conflict_do_nothing().values(values)
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1

"""Conditions as SQL: what the database must know again."""

from gateway.control.query.sql import FAILED_TEXT
from gateway.control.store import Store


def test_the_index_of_failures_serves_who_looks_for_them(any_store: Store) -> None:
    """SQLite refuses an index that is named and does not fit; PostgreSQL takes it where it may not read everything."""
    with any_store.reading.connect() as connection:
        if any_store.is_shared:
            connection.exec_driver_sql("SET enable_seqscan = off")
            query = f"EXPLAIN SELECT id FROM requests WHERE {FAILED_TEXT} AND started > 5"
            plan = "\n".join(connection.exec_driver_sql(query).scalars())
            assert "requests_failed" in plan
        else:
            query = f"SELECT id FROM requests INDEXED BY requests_failed WHERE {FAILED_TEXT} AND started > 5"
            assert connection.exec_driver_sql(query).all() == []

"""A question that takes too long is ended by the database, and the connection is as good as before."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from gateway.control.patience import Impatience, patience
from gateway.control.store import Store

ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")


def test_an_endless_question_is_ended(any_store: Store) -> None:
    with any_store.reading.connect() as connection, pytest.raises(Impatience), patience(connection, 0.1):
        connection.execute(ENDLESS)
    with any_store.reading.connect() as connection, patience(connection, 60.0):
        assert connection.scalar(text("SELECT 1")) == 1


def test_other_errors_are_what_they_are(store: Store) -> None:
    with store.reading.connect() as connection, pytest.raises(OperationalError), patience(connection, 60.0):
        connection.execute(text("SELECT * FROM nothing"))


def test_who_asks_without_it_has_all_the_time(store: Store) -> None:
    """Connections are shared: what one question was allowed is not the next one's."""
    with store.reading.connect() as connection, patience(connection, 0.0):
        pass
    with store.reading.connect() as connection:
        assert connection.scalar(text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) "
                                      "SELECT max(i) FROM n")) == 200_000  # fmt: skip

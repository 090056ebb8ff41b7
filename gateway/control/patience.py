"""How long a question to the store may take: the database itself ends what takes longer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

_STEPS = 20_000  # of SQLite's machine between two looks at the clock: a millisecond or two
_CANCELED = "57014"  # PostgreSQL's `query_canceled`


class Impatience(Exception):
    """The question took too long."""


@contextmanager
def patience(connection: Connection, seconds: float) -> Iterator[None]:
    """What is asked over `connection` in the block, together on SQLite, each for itself on PostgreSQL.

    Raises Impatience.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    deadline = time.monotonic() + seconds
    driver = connection.connection.driver_connection
    assert driver is not None
    if is_sqlite:
        driver.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    else:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
    try:
        yield
    except OperationalError as error:
        late = time.monotonic() > deadline if is_sqlite else getattr(error.orig, "sqlstate", "") == _CANCELED
        raise (Impatience() if late else error) from error
    finally:
        if is_sqlite:
            driver.set_progress_handler(None, 0)

"""The database of the store."""

import importlib.util
from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.settings.problem import Problem
from gateway.settings.schema import Config
from gateway.settings.state import is_url


def check_database(config: Config) -> Iterator[Problem]:
    """`state.database` can be used. Whether anybody answers there is not asked. A URL is not repeated: it may hold a
    password."""
    state = config.state
    if state.database == "sqlite":
        return
    if not is_url(state.database):
        yield Problem("state.database", "must be `sqlite`, or the URL of a PostgreSQL: postgresql://user@host/name")
        return
    try:
        parts = urlsplit(state.database)
        named = parts.scheme in ("postgresql", "postgres") and len(parts.path) > 1 and (parts.port or True)
    except ValueError:
        named = False
    if not named:
        yield Problem("state.database", "cannot be read; write postgresql://user@host:5432/name")
    elif importlib.util.find_spec("psycopg") is None:
        yield Problem("state.database", "needs the package psycopg: pip install 'tollkeeper[postgres]'")
    if not state.retention:
        message = "traces stay for ever, and `state.size` bounds a PostgreSQL not: its disk fills some day"
        yield Problem("state.retention", message, "warning")

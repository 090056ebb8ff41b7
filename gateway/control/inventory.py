"""What is in a store, for the operator."""

from typing import Any

from sqlalchemy import func, select

from gateway.control.retention import stored_bytes
from gateway.control.schema import read_revision
from gateway.control.store import Store
from gateway.control.tables import REVISION, contents, feedback, keys, open_requests, requests, writers


def describe_store(store: Store) -> dict[str, Any]:
    """Its schema, what it takes (bytes), how much there is of everything, and from when; moments are unix seconds."""
    with store.reading.connect() as connection:
        facts = {"schema": read_revision(connection), "needs": REVISION, "bytes": stored_bytes(connection)}
        if facts["schema"] != REVISION:
            return facts
        counts = {
            name: connection.scalar(select(func.count()).select_from(table))
            for name, table in (("traces", requests), ("contents", contents), ("feedback", feedback), ("keys", keys))
        }
        oldest, newest = connection.execute(select(func.min(requests.c.started), func.max(requests.c.started))).one()
        behind = select(func.count()).where(writers.c.state == "writing")
        return {
            **facts, **counts, "open": connection.scalar(select(func.count()).select_from(open_requests)),
            "writers": connection.scalar(behind), "oldest": (oldest or 0) / 1e6, "newest": (newest or 0) / 1e6,
        }  # fmt: skip

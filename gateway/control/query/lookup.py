"""What an operator asks of the store by a command: one request, by any of its names, and the slowest of late."""

from typing import Any

import msgspec
from sqlalchemy import select

from gateway.control.api.scope import Scope
from gateway.control.query.page import find_row
from gateway.control.query.view import show
from gateway.control.store import Store
from gateway.control.tables import contents, requests

_OPERATOR = Scope(everything=True)


def find_trace(store: Store, id: str, environment: str) -> dict[str, Any] | None:
    """The request with this id, W3C trace id or client's request id (the newest of several); None: there is none.

    By the client's id, which has no index, it takes longer, the older the request is.
    """
    with store.reading.connect() as connection:
        row = find_row(connection, _OPERATOR, id)
        if row is None:
            named = select(requests).where(requests.c.request_id == id).order_by(requests.c.started.desc())
            row = connection.execute(named.limit(1)).first()
        if row is None:
            return None
        kept = connection.execute(select(contents).where(contents.c.id == row.id)).one_or_none()
    texts = (kept.input, kept.output) if kept is not None else (None, None)
    found: dict[str, Any] = msgspec.to_builtins(show(row, environment, texts))
    return found


def find_slowest(store: Store, since: int, limit: int) -> list[dict[str, Any]]:
    """Calls of models that began after `since` (unix microseconds) and are over, the slowest first."""
    query = select(requests).where(requests.c.started >= since, requests.c.operation != "")
    with store.reading.connect() as connection:
        rows = connection.execute(query.order_by(requests.c.total_us.desc()).limit(limit)).all()
    return [msgspec.to_builtins(show(row, "")) for row in rows]

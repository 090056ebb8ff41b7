"""Failed logins, from the rows of requests. A flood becomes few entries: they are counted by address and reason.

They are counted in the transaction that stores the rows, so that each counts once, and become entries now and then.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, func, select

from gateway.catalogue import CATALOGUE
from gateway.control.audit.entry import Entry
from gateway.control.insertion import insert_into
from gateway.control.tables import login_failures
from gateway.journal import Closed

FAILURES = frozenset((*range(1002, 1004), *range(1005, 1014), 1508))
"""Numbers of the catalogue that say: this credential is not good, or there were too many of that kind."""

_ADDRESSES = 500  # told apart between two flushes; more are counted together
OTHERS = "others"


def count_failures(connection: Connection, finished: Iterable[Closed]) -> None:
    """Count what failed in a batch, within the caller's transaction."""
    found: dict[tuple[str, int], list[int]] = {}
    for closed in finished:
        if closed.error in FAILURES:
            opened = closed.opened
            count = found.setdefault((opened.peer, closed.error), [0, opened.started, opened.started])
            count[0] += 1
            count[1], count[2] = min(count[1], opened.started), max(count[2], opened.started)
    if found:
        _add(connection, found)


def has_failures(connection: Connection) -> bool:
    """Whether there is anything to take."""
    return connection.execute(select(login_failures.c.address).limit(1)).first() is not None


def take_failures(connection: Connection) -> list[Entry]:
    """The entries of what was counted, which is forgotten with the caller's transaction."""
    rows = connection.execute(delete(login_failures).returning(login_failures)).all()
    return [_tell(row) for row in sorted(rows, key=lambda row: (row.first, row.address, row.error))]


def _tell(row: Any) -> Entry:
    details = {"number": str(row.error), "times": str(row.times), "first": str(row.first), "last": str(row.last)}
    return Entry(row.last, "", "login.failed", CATALOGUE[row.error].code, row.address, "refused", details)


def _add(connection: Connection, found: dict[tuple[str, int], list[int]]) -> None:
    table = login_failures
    room = _ADDRESSES - (connection.scalar(select(func.count()).select_from(table)) or 0)
    known = set(connection.scalars(select(table.c.address).distinct())) if len(found) > room else set[str]()
    merged: dict[tuple[str, int], list[int]] = {}
    for at, ((address, error), (times, first, last)) in enumerate(found.items()):
        key = (address if at < room or address in known else OTHERS, error)
        count = merged.setdefault(key, [0, first, last])
        count[0], count[1], count[2] = count[0] + times, min(count[1], first), max(count[2], last)
    upsert = insert_into(connection.dialect.name, table)
    rows = [
        {"address": address, "error": error, "times": times, "first": first, "last": last}
        for (address, error), (times, first, last) in sorted(merged.items())
    ]
    new = upsert.excluded
    changes = {"times": table.c.times + new.times, "last": new.last}
    connection.execute(upsert.on_conflict_do_update(index_elements=["address", "error"], set_=changes), rows)

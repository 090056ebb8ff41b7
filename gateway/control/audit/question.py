"""What may be asked of the audit log: its entries, the newest first, by who, what, from where and when."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from gateway.control.audit.book import read_entry
from gateway.control.query.moment import show_moment
from gateway.control.tables import audit


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Empty fields ask for nothing; `action` may end in `*`. Moments are unix microseconds, `after` is a cursor."""

    actor: str = ""
    action: str = ""
    subject: str = ""
    address: str = ""
    outcome: str = ""
    since: int = 0
    until: int = 0
    limit: int = 50
    after: str = ""


class AuditEntry(msgspec.Struct, frozen=True):
    """An entry as it is told. `id` is its place in the chain of its instance."""

    id: str
    ts: str
    actor: str
    action: str
    subject: str
    address: str
    outcome: str
    details: dict[str, str]
    hash: str


def find_entries(connection: Connection, wanted: Question) -> tuple[Sequence[AuditEntry], str | None]:
    """A page, and the cursor of the next one. Raises ValueError for a cursor that is none."""
    query = select(audit).where(*_conditions(wanted))
    if wanted.after:
        query = query.where(_behind(wanted.after))
    order = (audit.c.at.desc(), audit.c.instance.desc(), audit.c.number.desc())
    rows = connection.execute(query.order_by(*order).limit(wanted.limit + 1)).all()
    page = rows[: wanted.limit]
    cursor = f"{page[-1].at}-{page[-1].number}-{page[-1].instance}" if len(rows) > wanted.limit else None
    return [_show(row) for row in page], cursor


def _conditions(wanted: Question) -> list[ColumnElement[bool]]:
    conditions = [
        audit.c[name] == value
        for name in ("actor", "subject", "address", "outcome")
        if (value := getattr(wanted, name))
    ]
    if wanted.action.endswith("*"):
        begin = wanted.action[:-1]
        conditions.append(func.substr(audit.c.action, 1, len(begin)) == begin)
    elif wanted.action:
        conditions.append(audit.c.action == wanted.action)
    if wanted.since:
        conditions.append(audit.c.at >= wanted.since)
    if wanted.until:
        conditions.append(audit.c.at < wanted.until)
    return conditions


def _behind(cursor: str) -> ColumnElement[bool]:
    """In the order of the page: older, or of the same moment and later in the order of instance and number."""
    moment, _, rest = cursor.partition("-")
    number, _, instance = rest.partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (moment, number)):
        raise ValueError("the cursor is none that was given out; begin without one")
    at, place = int(moment), int(number)
    same = and_(audit.c.instance == instance, audit.c.number < place)
    return or_(audit.c.at < at, and_(audit.c.at == at, or_(audit.c.instance < instance, same)))


def _show(row: Row[Any]) -> AuditEntry:
    entry = read_entry(row)
    return AuditEntry(
        id=f"{row.instance}-{row.number}", ts=show_moment(entry.at), actor=entry.actor, action=entry.action,
        subject=entry.subject, address=entry.address, outcome=entry.outcome, details=dict(entry.details), hash=row.hash,
    )  # fmt: skip

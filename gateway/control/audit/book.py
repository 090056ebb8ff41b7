"""The audit log in the store: one chain for each instance of the gateway, so that replicas wait for nobody."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, select

from gateway.control.audit.entry import PRUNED, Entry, Head, Link, Verdict, link, verify
from gateway.control.audit.failures import has_failures, take_failures
from gateway.control.store import Store
from gateway.control.tables import audit
from gateway.settings.state import write_private

_PIECE = 5000  # rows read at once


class Book:
    """`instance` names the chain that is written, `head_file` where its head is kept, `clock` is unix microseconds.

    Everything blocks and raises what the store raises. For one writer at a time.
    """

    def __init__(self, store: Store, instance: str, head_file: str, clock: Callable[[], int]) -> None:
        self._store = store
        self._instance = instance
        self._head_file = head_file
        self._clock = clock

    def note(self, actor: str, action: str, subject: str = "", **rest: Any) -> None:
        """Write one entry, of now."""
        self.append([Entry(self._clock(), actor, action, subject, **rest)])

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries behind the last one."""
        with self._store.writing.begin() as connection:
            head = self._write(connection, entries)
        self._keep(head)

    def flush(self) -> None:
        """Make entries of the failed logins that were stored since the last call. Mostly there are none."""
        with self._store.reading.connect() as connection:
            if not has_failures(connection):
                return
        with self._store.writing.begin() as connection:
            head = self._write(connection, take_failures(connection))
        self._keep(head)

    def prune(self, before: int) -> int:
        """Remove the entries from before `before` (unix microseconds), and say so in one; how many they were."""
        mine = audit.c.instance == self._instance
        with self._store.writing.begin() as connection:
            old = select(audit).where(mine, audit.c.at < before).order_by(audit.c.number.desc()).limit(1)
            last = connection.execute(old).one_or_none()
            if last is None:
                return 0
            entry = Entry(self._clock(), "gateway", PRUNED, details={"number": str(last.number), "hash": last.hash})
            head = self._write(connection, [entry])
            removed = connection.execute(delete(audit).where(mine, audit.c.number <= last.number)).rowcount
        self._keep(head)
        return int(removed)

    def verify(self) -> list[Verdict]:
        """What is to be said of every chain in the store; of this instance's also by the head that was kept."""
        verdicts = []
        with self._store.reading.connect() as connection:
            names = set(connection.scalars(select(audit.c.instance).distinct()))
            for name in sorted(names | {self._instance}):
                kept = self._read_kept() if name == self._instance else None
                verdicts.append(verify(name, _read_chain(connection, name), kept))
        return verdicts

    def _write(self, connection: Connection, entries: Iterable[Entry]) -> Head | None:
        mine = select(audit).where(audit.c.instance == self._instance).order_by(audit.c.number.desc()).limit(1)
        last = connection.execute(mine).one_or_none()
        head = Head() if last is None else Head(last.number, last.hash)
        rows = []
        for entry in entries:
            made = link(self._instance, head, entry)
            head = Head(made.number, made.hash)
            rows.append(_to_row(made))
        if not rows:
            return None
        connection.execute(audit.insert(), rows)
        return head

    def _keep(self, head: Head | None) -> None:
        """Beside the store, after the commit: a head that is behind is still one that the chain once had."""
        if head is None:
            return
        write_private(self._head_file, msgspec.json.encode(head).decode())

    def _read_kept(self) -> Head | None:
        try:
            return msgspec.json.decode(Path(self._head_file).read_bytes(), type=Head)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def read_entry(row: Row[Any]) -> Entry:
    return Entry(row.at, row.actor, row.action, row.subject, row.address, row.outcome, msgspec.json.decode(row.details))


def _read_chain(connection: Connection, instance: str) -> Iterator[Link]:
    after = 0
    while True:
        query = select(audit).where(audit.c.instance == instance, audit.c.number > after).order_by(audit.c.number)
        rows = connection.execute(query.limit(_PIECE)).all()
        yield from (Link(row.instance, row.number, read_entry(row), row.previous, row.hash) for row in rows)
        if len(rows) < _PIECE:
            return
        after = rows[-1].number


def _to_row(made: Link) -> dict[str, Any]:
    fields = {**msgspec.structs.asdict(made.entry), "details": msgspec.json.encode(made.entry.details).decode()}
    own = {"instance": made.instance, "number": made.number, "previous": made.previous, "hash": made.hash}
    return fields | own

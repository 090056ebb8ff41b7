"""From the journals into the store: each request exactly once, whoever is killed when.

A piece of journal and the position behind it are stored in one transaction. A writer whose journal is read to its end
and whose lock is free is dead: what it left open is closed, and the writer is *sealed*. Once the ledger knows what it
spent it is *settled*, and its files go. Everything here blocks; it belongs on one thread.
"""

import fcntl
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DataError

from gateway.control.batch import Batch, plan, plan_lost
from gateway.control.insertion import insert_new
from gateway.control.rows import write_batch
from gateway.control.store import Store, checkpoint
from gateway.control.tables import open_requests, writers
from gateway.journal import Closed, is_locked, segment_path

CHUNK = 1024 * 1024  # bytes read at once; a longer line is garbage

_NAME = re.compile(r"(.+)\.(\d+)\.jsonl")
_log = logging.getLogger("tollkeeper.control")


class Position(msgspec.Struct, frozen=True):
    """How far a journal is stored: the next unread byte, the records it lacks, and what became of its writer."""

    segment: int = 0
    offset: int = 0
    lost: int = 0
    state: str = "writing"


class Overtaken(OSError):
    """Somebody else moved this position: a predecessor whose last commit came after its death."""


class Ingest:
    """Reads the journals in `directory` into `store`. `clock` is unix microseconds, `instance` the replica's name.

    `seen` gets the requests of each batch once they are stored. Waits until no other process reads the journals: a
    predecessor may be about to commit.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        clock: Callable[[], int],
        seen: Callable[[list[Closed]], None] = lambda _: None,
        instance: str = "",
    ) -> None:
        self.lost = 0  # records found unreadable so far; workers count those that they could not write
        self.behind = False  # whether the last step left something that was there already
        self.taken = 0  # requests that the last step stored
        self._store = store
        self._directory = directory
        self._clock = clock
        self._seen = seen
        self._instance = instance
        self._lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self.reload()
        except BaseException:
            self.close()
            raise

    def sealed(self) -> list[str]:
        """Writers that are dead and wholly stored, and that the ledger has not settled."""
        return [writer for writer, position in self._positions.items() if position.state == "sealed"]

    def reload(self) -> None:
        """Take the positions from the store: after a failure only the store knows whether it was committed."""
        with self._store.reading.connect() as connection:
            rows = connection.execute(select(writers).where(writers.c.instance == self._instance)).all()
        self._positions = {row.writer: Position(row.segment, row.offset, row.lost, row.state) for row in rows}

    def step(self) -> bool:
        """Take one piece of every journal; False when nothing was new. Raises what the store raises: call again."""
        self.behind, self.taken = False, 0
        busy = False
        for writer in self._sweep():
            try:
                busy |= self._advance(writer, self._positions.get(writer, Position()))
            except BaseException:
                self.reload()
                raise
        return busy

    def close(self) -> None:
        """Let others in."""
        os.close(self._lock)

    def _sweep(self) -> list[str]:
        """Remove the files that are stored; return the writers that are not."""
        found = {writer for writer, position in self._positions.items() if position.state == "writing"}
        stored = []
        for path in self._directory.iterdir():
            if (name := _NAME.fullmatch(path.name)) is None:
                continue
            position = self._positions.get(name[1], Position())
            if position.state == "settled" or int(name[2]) < position.segment:
                stored.append(path)
            elif position.state == "writing":
                found.add(name[1])
        if stored:
            self._remove(stored)
        return sorted(found)

    def _remove(self, paths: list[Path]) -> None:
        checkpoint(self._store)  # on disk there before it is gone here
        for path in paths:
            path.unlink(missing_ok=True)

    def _advance(self, writer: str, position: Position) -> bool:
        path = segment_path(self._directory, writer, position.segment)
        data = _read(path, position.offset)
        if not data:
            finished = not is_locked(path)
            data = _read(path, position.offset)  # what was written before the lock was seen free
            if not data and not finished:
                return False
        if data:
            self._take(writer, position, data)
        elif (following := self._find_following(writer, position.segment)) is not None:
            self._commit(writer, position, Position(following, 0, position.lost), Batch())
        else:
            self._seal(writer, position, path)
        return True

    def _find_following(self, writer: str, segment: int) -> int | None:
        """The next segment that is there. After a restore of the store some may be missing."""
        names = filter(None, (_NAME.fullmatch(path.name) for path in self._directory.iterdir()))
        return min((int(name[2]) for name in names if name[1] == writer and int(name[2]) > segment), default=None)

    def _take(self, writer: str, position: Position, data: bytes) -> None:
        batch = plan(data, writer)
        try:
            self._commit(writer, position, _behind(position, data, batch), batch)
        except (DataError, OverflowError):  # a number that no column holds
            self._take_apart(writer, position, data)
        self.lost += batch.unreadable
        self.behind |= len(data) > CHUNK // 2

    def _take_apart(self, writer: str, position: Position, data: bytes) -> None:
        """Half by half, until what the store cannot hold is alone, and passed."""
        lines = data.splitlines(keepends=True)
        if len(lines) > 1:
            middle = len(lines) // 2
            self._take(writer, position, b"".join(lines[:middle]))
            self._take(writer, self._positions[writer], b"".join(lines[middle:]))
        else:
            nothing = Batch(lost=1, unreadable=1)
            self._commit(writer, position, _behind(position, data, nothing), nothing)
            self.lost += 1

    def _seal(self, writer: str, position: Position, path: Path) -> None:
        """Close what the dead writer left open. Where records are missing, the ledger's own figure is the better."""
        if position.lost:
            _log.warning("%d records of writer %s are missing: it is not settled", position.lost, writer)
        finished = path.stat().st_mtime_ns // 1000 if path.exists() else self._clock()
        state = "settled" if position.lost else "sealed"
        with self._store.reading.connect() as connection:
            left = connection.execute(select(open_requests).where(open_requests.c.writer == writer)).all()
        batch = plan_lost([tuple(row) for row in left], finished)
        self._commit(writer, position, msgspec.structs.replace(position, state=state), batch)

    def _commit(self, writer: str, before: Position, after: Position, batch: Batch) -> None:
        with self._store.writing.begin() as connection:
            self._move(connection, writer, before, after)
            write_batch(connection, batch, writer)
        self._positions[writer] = after
        self.taken += len(batch.finished)
        self._seen(batch.finished)

    def _move(self, connection: Connection, writer: str, before: Position, after: Position) -> None:
        """From `before`, and from nowhere else: PostgreSQL may still commit what a killed predecessor sent."""
        values = {**msgspec.structs.asdict(after), "changed": self._clock(), "instance": self._instance}
        if writer in self._positions:
            at = [writers.c[name] == getattr(before, name) for name in ("segment", "offset", "state")]
            moved = connection.execute(update(writers).where(writers.c.writer == writer, *at).values(values)).rowcount
        else:
            moved = insert_new(connection, writers, {"writer": writer, **values})
        if not moved:
            raise Overtaken(f"the journal of {writer} is not where it was")


def _behind(position: Position, data: bytes, batch: Batch) -> Position:
    return Position(position.segment, position.offset + len(data), position.lost + batch.lost)


def _read(path: Path, offset: int) -> bytes:
    """Whole lines from `offset` on, at most CHUNK bytes; empty where there are none or the file is gone."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        data = os.pread(file, CHUNK, offset)
    finally:
        os.close(file)
    end = data.rfind(b"\n") + 1
    return data[:end] if end or len(data) < CHUNK else data

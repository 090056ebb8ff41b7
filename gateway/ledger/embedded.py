"""The authority of a single replica: it lives in the supervisor and answers by plain function calls."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.ledger.book import Book
from gateway.ledger.clock import Clock
from gateway.ledger.compaction import Compaction
from gateway.ledger.limit import Ask, Denial, Grant, Refund, Renew, Return
from gateway.ledger.record import Death, Entry, Record, Settlement, Snapshot
from gateway.ledger.tape import Tape

_log = logging.getLogger("tollkeeper")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode
_COMPACT_AT = 8 * 1024 * 1024  # bytes; about 0.3 s of replay
_PIECE = 500  # buckets, pools and months written at once: about 1 ms
_ALL = 1 << 62
_RETRY_US = 10_000_000  # how long after a failed write the whole state is written anew


class EmbeddedLedger:
    """Decides every ask, and has written each charge to the state directory before the grant is returned.

    A *writer* is one run of one worker process; its name never comes again. When the disk refuses to be written, the
    answers go on, `write_errors` counts what was not kept, and the state is written anew when there is room again.
    """

    def __init__(self, clock: Clock, tape: Tape) -> None:
        """Rebuild the state from `tape`. Raises msgspec.DecodeError for records of another version."""
        self._clock = clock
        self._tape = tape
        self._book = Book()
        for record in map(_decode, tape.read()):
            if isinstance(record, Snapshot):
                self._book.restore(record)
            else:
                self._book.apply(record)
        self._book.clamp(clock.steady_us())
        self._earlier = set(self._book.counters.charges)
        self._pending: list[bytes] = []
        self._batching = False
        self._compact_at = _COMPACT_AT
        self._compaction: Compaction | None = None
        self._retry_us: int | None = None  # steady time of the next try to write the state anew
        self.write_errors = 0
        if tape.size:
            self._compact()  # what was clamped must not be replayed

    @classmethod
    def open(cls, directory: Path, clock: Clock) -> "EmbeddedLedger":
        """The authority whose state is in `directory`/ledger.log."""
        return cls(clock, Tape(directory / "ledger.log"))

    def ask(self, writer: str, ask: Ask) -> Grant | Denial:
        """Charge all needs of `ask` to `writer`, or none."""
        now_us = self._clock.steady_us()
        answer = self._book.decide(ask, now_us, self._clock.wall_us())
        if isinstance(answer, Grant):
            self._record(Entry.of(writer, now_us, ask, answer))
        return answer

    def peek(self, ask: Ask) -> Grant | Denial:
        """What `ask` would answer now. Changes nothing."""
        return self._book.decide(ask, self._clock.steady_us(), self._clock.wall_us())

    def refund(self, writer: str, refund: Refund) -> None:
        """Correct an earlier charge of `writer`."""
        self._record(Entry(writer, self._clock.steady_us(), refund))

    def renew(self, writer: str, renew: Renew) -> None:
        """Prolong the slots that a charge of `writer` holds."""
        self._record(Entry(writer, self._clock.steady_us(), renew))

    def bury(self, writer: str) -> None:
        """`writer` is dead: free the slots it held."""
        self._record(Entry(writer, self._clock.steady_us(), Death()))

    def give_back(self, writer: str, lease: Return) -> None:
        """End a lease of `writer` and credit what it did not spend."""
        self._record(Entry(writer, self._clock.steady_us(), lease))

    def settle(self, writer: str, totals: Mapping[tuple[str, str], int]) -> bool:
        """Replace what `writer` was charged by what its journal says: {(quota key, period): milli-units}.

        To be called once the writer is dead and its journal is wholly stored. False where the writer is not known
        (never charged a month, or settled before): then nothing changes.
        """
        if writer not in self._book.counters.charges:
            return False
        rows = tuple([(key, period, units) for (key, period), units in totals.items()])
        self._record(Entry(writer, self._clock.steady_us(), Settlement(rows)))
        return True

    def unsettled(self) -> list[str]:
        """Writers of earlier boots that wait for `settle`."""
        return sorted(self._earlier & self._book.counters.charges.keys())

    @contextmanager
    def batch(self) -> Iterator[None]:
        """One write for everything inside; grants may be sent only after the block."""
        self._batching = True
        try:
            yield
        finally:
            self._batching = False
            self._write()

    def close(self) -> None:
        """Write the state anew and close the file."""
        self._compact()
        self._tape.close()

    def _record(self, entry: Entry) -> None:
        self._book.apply(entry)
        self._pending.append(_encode(entry))
        if not self._batching:
            self._write()

    def _write(self) -> None:
        if not self._pending:
            return
        records, self._pending = self._pending, []
        try:
            self._tape.append(records)
            if self._retry_us is None:
                self._compact_a_piece(records)
        except OSError as error:
            self.write_errors += 1
            self._abandon()
            if self._retry_us is None:
                self._retry_later(error)
        if self._retry_us is not None and self._clock.steady_us() >= self._retry_us:
            self._compact()

    def _compact_a_piece(self, records: list[bytes]) -> None:
        """Begin to write the state anew where the file has grown, or go on with it."""
        if self._compaction is None:
            if self._tape.size <= self._compact_at:
                return
            pieces = self._book.export_pieces(_PIECE, self._clock.steady_us, self._clock.wall_us())
            self._compaction, records = Compaction(self._tape, pieces), []
        if self._compaction.advance(records):
            self._compaction = None
            self._compact_at = max(_COMPACT_AT, 4 * self._tape.size)

    def _abandon(self) -> None:
        if self._compaction is not None:
            self._compaction.abandon()
            self._compaction = None

    def _compact(self) -> None:
        """Write the whole state in place of its history; that also mends what failed to be written."""
        self._abandon()
        (state,) = self._book.export_pieces(_ALL, self._clock.steady_us, self._clock.wall_us())
        try:
            self._tape.replace(_encode(state))
        except OSError as error:
            self.write_errors += 1
            self._retry_later(error)
        else:
            self._retry_us = None
            self._compact_at = max(_COMPACT_AT, 4 * self._tape.size)

    def _retry_later(self, error: OSError) -> None:
        _log.error("the ledger cannot be written, charges would be forgotten by a crash: %s", error)
        self._retry_us = self._clock.steady_us() + _RETRY_US

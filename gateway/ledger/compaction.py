"""Writing the state in place of its history, a piece at a time, so that nobody waits for the whole of it.

The new file holds pieces of the state, each as it was when it was written, and between them all that was recorded
meanwhile. Its replay gives the right state: what a record does to a part whose piece has not come yet is replaced by
that piece, and what it does to a part whose piece has come is a change of it like any other.
"""

from collections.abc import Iterator

import msgspec

from gateway.ledger.record import Snapshot
from gateway.ledger.tape import Tape

_encode = msgspec.msgpack.Encoder().encode


class Compaction:
    """One new file for `tape`. `pieces` read the state when they are asked for. Raises OSError as a Tape does."""

    def __init__(self, tape: Tape, pieces: Iterator[Snapshot]) -> None:
        self._tape = tape
        self._pieces = pieces
        self._spare = tape.make_spare()

    def advance(self, records: list[bytes]) -> bool:
        """Write what was recorded since the last piece, and one more piece; whether the file took the tape's place."""
        piece = next(self._pieces, None)
        if piece is not None:
            self._spare.append([*records, _encode(piece)])
            return False
        self._spare.append(records)
        self._tape.adopt(self._spare)
        return True

    def abandon(self) -> None:
        """Leave the tape as it is."""
        self._spare.discard()

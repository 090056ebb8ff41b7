"""The authority of a single replica: it lives in the supervisor and answers by plain function calls."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.ledger.limit import Ask, Denial, Grant, Refund, Return


class Clock:
    """Steady and wall time in integer microseconds."""


class EmbeddedLedger:
    """Decides every ask, and has written each charge to the state directory before the grant is returned."""

    write_errors: int

    @classmethod
    def open(cls, directory: Path, clock: Clock) -> "EmbeddedLedger":
        """Rebuild the state from `directory`/ledger.log (made if absent; a torn tail is cut)."""
        raise NotImplementedError

    def ask(self, writer: str, ask: Ask) -> Grant | Denial:
        """Charge all needs of `ask` to `writer`, or none."""
        raise NotImplementedError

    def peek(self, ask: Ask) -> Grant | Denial:
        """What `ask` would answer now. Changes nothing."""
        raise NotImplementedError

    def refund(self, writer: str, refund: Refund) -> None:
        """Correct an earlier charge of `writer`."""
        raise NotImplementedError

    def give_back(self, writer: str, lease: Return) -> None:
        """End a lease of `writer` and credit what it did not spend."""
        raise NotImplementedError

    @contextmanager
    def batch(self) -> Iterator[None]:
        """One write for everything inside; grants may be sent only after the block."""
        raise NotImplementedError

    def settle(self, writer: str, totals: Mapping[tuple[str, str], int]) -> bool:
        """Replace what `writer` was charged by what its journal says: {(quota key, period): milli-units}.

        To be called once the writer is dead and its journal is wholly stored. False where the writer is not known
        (never charged a month, or settled before): then nothing changes.
        """
        raise NotImplementedError

    def unsettled(self) -> list[str]:
        """Writers of earlier boots that wait for `settle`."""
        raise NotImplementedError

    def close(self) -> None:
        """Write a snapshot and close the file."""
        raise NotImplementedError

"""One ask on its way to Redis. It is sent once; twice where the month that was assumed is not the one it is there."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.ledger.limit import Ask, Denial, Grant, Need
from gateway.ledger.period import Month
from gateway.ledger.script import GRANTED, OTHER_MONTH, read
from gateway.redis.connection import Receiver
from gateway.redis.node import Down

Fail = Callable[[Exception], None]


class Asker(Protocol):
    """Whoever sends questions."""

    def put(self, mode: str, ask: Ask, month: Month | None, receiver: Receiver) -> None:
        """Run the script."""

    def learn(self, ask: Ask, now_us: int) -> Month | None:
        """The month of `ask` at Redis's time."""

    def note(self, ask: Ask, grant: Grant) -> None:
        """It was charged."""

    def undo(self, charge: str, needs: Sequence[Need], grant: Grant) -> None:
        """It was charged, and nobody waits for it."""

    def doubt(self, ask: Ask, period: str) -> None:
        """Nobody will ever know whether it was charged."""


class Question:
    """Tells `done` the answer, or `fail` what came instead, once."""

    __slots__ = ("_ask", "_asker", "_done", "_fail", "_is_over", "_mode", "_month", "_retried")

    def __init__(
        self, asker: Asker, mode: str, ask: Ask, month: Month | None, done: Callable[[Grant | Denial], None], fail: Fail
    ) -> None:  # fmt: skip
        self._asker = asker
        self._mode = mode
        self._ask = ask
        self._month = month
        self._done = done
        self._fail = fail
        self._retried = self._is_over = False

    def put(self) -> None:
        self._asker.put(self._mode, self._ask, self._month, self._receive)

    def _receive(self, reply: Any, is_late: bool) -> None:
        if isinstance(reply, Exception):
            self._lose(reply)
        elif reply[0] == OTHER_MONTH:
            self._turn_page(reply[4], is_late)
        elif is_late:
            self._undo(reply)
        else:
            answer = read(self._ask, self._month, reply)
            if isinstance(answer, Grant) and self._mode == "take":
                self._asker.note(self._ask, answer)
            self._done(answer)

    def _lose(self, error: Exception) -> None:
        is_unknown = isinstance(error, ConnectionError) and not isinstance(error, Down)
        if is_unknown and self._month is not None and self._mode == "take":
            self._asker.doubt(self._ask, self._month.name)
        if not self._is_over:
            self._is_over = True
            self._fail(error)

    def _turn_page(self, now_us: int, is_late: bool) -> None:
        self._month = self._asker.learn(self._ask, now_us)
        if is_late:
            return
        if self._retried:
            self._lose(Down("the clock of Redis jumps"))
        else:
            self._retried = True
            self.put()

    def _undo(self, reply: list[int]) -> None:
        if reply[0] == GRANTED and self._mode == "take":
            grant = read(self._ask, self._month, reply)
            assert isinstance(grant, Grant)
            kept = [need for at, need in enumerate(self._ask.needs) if at not in grant.shadowed]
            self._asker.undo(self._ask.charge, kept, grant)

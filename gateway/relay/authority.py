"""Which authority a worker's wallet asks: the supervisor, or the Redis that all replicas share."""

import asyncio
import time
from typing import Any

from gateway.ledger.lease import Wallet
from gateway.ledger.limit import Ask, Refund, Renew
from gateway.ledger.redis import RedisLedger
from gateway.link import AuthorityState, Link, Peek
from gateway.metrics import Board
from gateway.plugin import Shared
from gateway.redis.location import parse_location
from gateway.relay.shared import RedisShared
from gateway.tasks import spawn

_SWEEP = 0.1  # seconds


class Replica:
    """What the supervisor and the board do for a RedisLedger."""

    def __init__(self, link: Link, board: Board) -> None:
        self._link = link
        self._board = board
        self._seconds = board.index("ledger_seconds")

    def ask(self, ask: Ask) -> "asyncio.Future[Any]":
        return self._link.call(ask)

    def tell(self, message: Refund | Renew) -> None:
        self._link.tell(message)

    def change(self, is_up: bool) -> "asyncio.Future[Any]":
        return self._link.call(AuthorityState(is_up))

    def observe(self, seconds: float) -> None:
        self._board.observe(self._seconds, seconds)

    def degrade(self, policy: str) -> None:
        self._board.add(self._board.index("ledger_degraded_total", policy))


class Authority:
    """The wallet of one worker, and the authority behind it; `redis` is the URL of one, or empty."""

    def __init__(self, redis: str, writer: str, link: Link, board: Board) -> None:
        self._ledger: RedisLedger | None = None
        self.shared: Shared | None = None  # what all replicas know together
        self._slots, self._leased = board.slots, board.index("lease_tokens")
        if redis:
            ledger = self._ledger = RedisLedger(parse_location(redis), writer, Replica(link, board))
            self.shared = RedisShared(ledger.client)
            self.wallet = Wallet(ledger.send, ledger.tell, time.monotonic, ledger.look)
        else:
            self.wallet = Wallet(link.call, link.tell, time.monotonic, lambda ask: link.call(Peek(ask)))

    async def start(self) -> None:
        """Connect where there is something to connect to; from here on what lies idle goes back."""
        self._sweeping = spawn(self._sweep(), "lease sweep")
        if self._ledger is not None:
            await self._ledger.start()

    def recount(self) -> None:
        """Redis may have lost its memory."""
        if self._ledger is not None:
            self._ledger.months.recount()

    def close(self) -> None:
        """Give back what is held, and end."""
        self._sweeping.cancel()
        self.wallet.drain()
        if self._ledger is not None:
            self._ledger.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self.wallet.sweep(time.monotonic())
            self._slots[self._leased] = self.wallet.held / 1000

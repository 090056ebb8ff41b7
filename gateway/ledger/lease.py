"""The worker's wallet: it spends units that the authority has already debited, and asks when it holds none."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial

from gateway.ledger.account import Account, Charge, Cost
from gateway.ledger.holding import Holding
from gateway.ledger.limit import Ask, Denial, Grant, LedgerDown, Refund, Return

__all__ = ["Account", "Charge", "Cost", "Wallet"]

Send = Callable[[Ask], "asyncio.Future[Grant | Denial]"]
Tell = Callable[[Refund | Return], None]

_IDLE = 0.2  # seconds after which a lease that is not spent from goes back
_ACCOUNTS = 10_000  # remembered; those that asked longest ago are forgotten


class Wallet:
    """Charges requests against accounts. One per worker; not for several threads.

    `send` carries an Ask to the authority and returns a future of its own (the wallet shields it from the request's
    cancellation), failed with a ConnectionError when the authority is gone. `tell` never blocks, fails or answers,
    and keeps its order with `send`. `clock` is monotonic seconds.
    """

    def __init__(self, send: Send, tell: Tell, clock: Callable[[], float]) -> None:
        self._send = send
        self._tell = tell
        self._clock = clock
        self._holdings: OrderedDict[str, Holding] = OrderedDict()  # by account, the last asked for last
        self._holders: set[Holding] = set()  # those with a lease
        self._is_draining = False

    def take(self, account: Account, charge: str, cost: Cost) -> Charge | Denial | Awaitable[Charge | Denial]:
        """Charge `cost` milli-units (more than 0) to every limit of the account, or to none.

        Answers at once when a held lease covers it or a denial still stands; else the awaitable, which must be
        awaited, asks the authority and raises LedgerDown when that cannot be done.
        """
        now = self._clock()
        holding = self._holdings.get(account.key)
        if holding is None:
            holding = self._remember(account, now)
        elif (answer := holding.spend(charge, cost, now) or holding.repeat_denial(charge, cost, now)) is not None:
            return answer
        else:
            self._holdings.move_to_end(account.key)
        return self._ask(holding, charge, cost)

    def refund(self, charge: Charge) -> None:
        """Give the whole charge back to the authority. Only the first refund or settlement of a charge counts."""
        self.settle(charge, 0)

    def settle(self, charge: Charge, used: int) -> None:
        """Correct the charge to `used` milli-units: the rest is refunded, an overrun becomes debt. Once per charge."""
        if charge.is_settled:
            return
        charge.is_settled = True
        if used != charge.cost:
            self._tell(Refund(charge.id, charge.account.needs(charge.cost - used), charge.period))
            if (holding := self._holdings.get(charge.account.key)) is not None:
                holding.forget_denial()

    def sweep(self, now: float) -> None:
        """Give back what lies idle or has expired. To be called every 0.1 s."""
        for holding in list(self._holders):
            if now >= holding.ends or now - holding.used >= _IDLE:
                self._close(holding, now)

    def drain(self) -> None:
        """Give back every lease. Takes after this ask for each request."""
        self._is_draining = True
        for holding in list(self._holders):
            self._close(holding, self._clock())

    async def _ask(self, holding: Holding, charge: str, cost: int) -> Charge | Denial:
        """Ask for this request alone; one request at a time also asks for a lease, which later ones will spend."""
        asked = self._clock()
        lease = 0
        if not holding.is_asking and not self._is_draining:
            self._close(holding, asked)
            lease = holding.demand(asked)
            holding.is_asking = lease > 0
        ask = Ask(charge, holding.account.needs(cost), lease)
        answer = self._send(ask)
        try:
            return self._receive(holding, ask, asked, await asyncio.shield(answer))
        except asyncio.CancelledError:
            answer.add_done_callback(partial(self._receive_late, holding, ask, asked))
            raise
        except ConnectionError as error:
            self._end_asking(holding, ask)
            raise LedgerDown("the ledger does not answer") from error

    def _receive(self, holding: Holding, ask: Ask, asked: float, answer: Grant | Denial) -> Charge | Denial:
        self._end_asking(holding, ask)
        cost = ask.needs[0].cost
        if isinstance(answer, Denial):
            holding.deny(answer, cost, asked)
            return holding.spend(ask.charge, cost, self._clock()) or answer  # a lease may have come meanwhile
        if answer.lease:
            self._hold(holding, answer, asked)
        holding.count(cost, asked)
        return Charge(holding.account, ask.charge, cost, answer.period, answer.standings, answer.lease, 0.0)

    def _receive_late(self, holding: Holding, ask: Ask, asked: float, answer: "asyncio.Future[Grant | Denial]") -> None:
        """Nobody waits for this answer any more: what it charged goes back."""
        if answer.cancelled() or answer.exception() is not None:
            self._end_asking(holding, ask)
        elif isinstance(charge := self._receive(holding, ask, asked, answer.result()), Charge):
            self.refund(charge)

    def _end_asking(self, holding: Holding, ask: Ask) -> None:
        if ask.lease:
            holding.is_asking = False

    def _hold(self, holding: Holding, lease: Grant, asked: float) -> None:
        holding.accept(lease, asked)
        self._holders.add(holding)
        if self._is_draining or self._holdings.get(holding.account.key) is not holding:
            self._close(holding, asked)  # nobody would spend it

    def _close(self, holding: Holding, now: float) -> None:
        message = holding.close(now)
        if message is not None:
            self._holders.discard(holding)
            self._tell(message)

    def _remember(self, account: Account, now: float) -> Holding:
        if len(self._holdings) >= _ACCOUNTS:
            _, oldest = self._holdings.popitem(last=False)
            self._close(oldest, now)
        holding = self._holdings[account.key] = Holding(account, now)
        return holding

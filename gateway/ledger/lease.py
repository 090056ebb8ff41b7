"""The worker's wallet: it spends units that the authority has already debited, and asks when it holds none."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial

from gateway.ledger.account import Account, Charge, Cost
from gateway.ledger.holding import Holding
from gateway.ledger.limit import Ask, Denial, Grant, LedgerDown, Refund, Renew, Return, Slots
from gateway.ledger.renewals import Renewals

__all__ = ["Account", "Charge", "Cost", "Wallet"]

Send = Callable[[Ask], "asyncio.Future[Grant | Denial]"]
Tell = Callable[[Refund | Return | Renew], None]
Look = Callable[[Ask], Awaitable[Grant | Denial]]

_IDLE = 0.2  # seconds after which a lease that is not spent from goes back
_ACCOUNTS = 10_000  # remembered; those that asked longest ago are forgotten


class Wallet:
    """Charges requests against accounts. One per worker; not for several threads.

    `send` carries an Ask to the authority and returns a future of its own (the wallet shields it from the request's
    cancellation), failed with a ConnectionError when the authority is gone. `tell` never blocks, fails or answers,
    and keeps its order with `send`. `clock` is monotonic seconds. `look` asks what an Ask would be answered, with a
    ConnectionError as `send`.
    """

    def __init__(self, send: Send, tell: Tell, clock: Callable[[], float], look: Look) -> None:
        self._send = send
        self._tell = tell
        self._clock = clock
        self._look = look
        self._renewals = Renewals()
        self._holdings: OrderedDict[str, Holding] = OrderedDict()  # by account, the last asked for last
        self._holders: set[Holding] = set()  # those with a lease
        self._is_draining = False

    def take(self, account: Account, charge: str, cost: Cost) -> Charge | Denial | Awaitable[Charge | Denial]:
        """Charge `cost` to every limit of the account, or to none.

        Answers at once when a held lease covers it or a denial still stands; else the awaitable, which must be
        awaited, asks the authority and raises LedgerDown when that cannot be done.
        """
        now = self._clock()
        holding = self._holdings.get(account.key)
        if holding is None:
            holding = self._remember(account, now)
        elif isinstance(cost, int):
            answer = holding.spend(charge, cost, now) or holding.repeat_denial(charge, cost, now)
            if answer is not None:
                return answer
        self._holdings.move_to_end(account.key)
        return self._ask(holding, charge, cost)

    async def peek(self, account: Account, cost: Cost) -> Charge | Denial:
        """What `take` would answer now. Charges nothing; raises LedgerDown."""
        try:
            answer = await self._look(Ask("", account.needs(cost)))
        except ConnectionError as error:
            raise LedgerDown("the ledger does not answer") from error
        if isinstance(answer, Denial):
            return answer
        charge, holding = _charge(account, cost, answer), self._holdings.get(account.key)
        if holding is not None and self._clock() < holding.ends:
            charge.held = holding.units  # to the authority they are spent
        return charge

    def refund(self, charge: Charge) -> None:
        """Give the whole charge back to the authority. Only the first refund or settlement of a charge counts."""
        self.settle(charge, 0)

    def settle(self, charge: Charge, used: Cost) -> None:
        """Correct the charge to `used` milli-units: the rest is refunded, an overrun becomes debt. Once per charge.

        Slots are given back whatever `used` says of them.
        """
        if charge.is_settled:
            return
        charge.is_settled = True
        self._renewals.discard(charge)
        correction = charge.correct(used)
        if correction is not None:
            self._tell(correction)
            if (holding := self._holdings.get(charge.account.key)) is not None:
                holding.forget_denial()

    @property
    def held(self) -> int:
        """Milli-units in leases: charged at the authority, not yet spent here."""
        return sum(holding.units for holding in self._holders)

    def sweep(self, now: float) -> None:
        """Give back what lies idle or has expired, renew slots in use. To be called every 0.1 s."""
        for renewal in self._renewals.pop_due(now):
            self._tell(renewal)
        for holding in list(self._holders):
            if now >= holding.ends or now - holding.used >= _IDLE:
                self._close(holding, now)

    def drain(self) -> None:
        """Give back every lease. Takes after this ask for each request."""
        self._is_draining = True
        for holding in list(self._holders):
            self._close(holding, self._clock())

    async def _ask(self, holding: Holding, charge: str, cost: Cost) -> Charge | Denial:
        """Ask for this request alone; one request at a time also asks for a lease, which later ones will spend."""
        asked = self._clock()
        lease = 0
        if isinstance(cost, int) and holding.account.is_leasable and not (holding.is_asking or self._is_draining):
            self._close(holding, asked)
            lease = holding.demand(asked)
            holding.is_asking = lease > 0
        ask = Ask(charge, holding.account.needs(cost), lease, holding.account.policy)
        answer = self._send(ask)
        try:
            return self._receive(holding, ask, cost, asked, await asyncio.shield(answer))
        except asyncio.CancelledError:
            answer.add_done_callback(partial(self._receive_late, holding, ask, cost, asked))
            raise
        except ConnectionError as error:
            self._end_asking(holding, ask)
            raise LedgerDown("the ledger does not answer") from error

    def _receive(self, holding: Holding, ask: Ask, cost: Cost, asked: float, answer: Grant | Denial) -> Charge | Denial:
        self._end_asking(holding, ask)
        account = holding.account
        if isinstance(answer, Denial):
            if not isinstance(cost, int):
                return answer
            if not isinstance(account.limits[answer.index], Slots):  # those may be free again at once
                holding.deny(answer, cost, asked)
            return holding.spend(ask.charge, cost, self._clock()) or answer  # a lease may have come meanwhile
        if answer.lease:
            self._hold(holding, answer, asked)
        if isinstance(cost, int):
            holding.count(cost, asked)
        charge = _charge(account, cost, answer)
        self._renewals.add(charge, asked)
        return charge

    def _receive_late(
        self, holding: Holding, ask: Ask, cost: Cost, asked: float, answer: "asyncio.Future[Grant | Denial]"
    ) -> None:
        """Nobody waits for this answer any more: what it charged goes back."""
        if answer.cancelled() or answer.exception() is not None:
            self._end_asking(holding, ask)
        elif isinstance(charge := self._receive(holding, ask, cost, asked, answer.result()), Charge):
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


def _charge(account: Account, cost: Cost, grant: Grant) -> Charge:
    """A grant of just now."""
    return Charge(
        account, grant.charge, cost, grant.period, grant.standings, grant.lease, 0.0,
        shadowed=grant.shadowed, mode=grant.mode,
    )  # fmt: skip

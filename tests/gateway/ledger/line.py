"""A wallet and a real authority, with a line between them that the test can hold up or cut."""

import asyncio

from gateway.ledger.lease import Account, Charge, Cost, Wallet
from gateway.ledger.limit import Ask, Denial, Grant, Quota, Rate, Refund, Renew, Return
from tests.gateway.ledger.authority import Site
from tests.gateway.ledger.model import SECOND, START_US

RATE = Rate("rate", 1000, SECOND, 1000)
MONTHLY = Quota("month", 100_000)
ACCOUNT = Account((RATE, MONTHLY))


class Line:
    """Between one wallet and the site's authority. While `is_slow`, answers wait for `deliver`."""

    def __init__(self, site: Site, writer: str) -> None:
        self.site = site
        self._writer = writer
        self.sent: list[Ask | Refund | Return | Renew] = []
        self.is_slow = False
        self.is_cut = False
        self._waiting: list[tuple[asyncio.Future[Grant | Denial], Grant | Denial]] = []
        self.wallet = Wallet(self._send, self._tell, self.now, self._look)

    def _send(self, ask: Ask) -> asyncio.Future[Grant | Denial]:
        self.sent.append(ask)
        future: asyncio.Future[Grant | Denial] = asyncio.get_running_loop().create_future()
        answer = self.site.ledger.ask(self._writer, ask)
        if self.is_slow:
            self._waiting.append((future, answer))
        else:
            future.set_result(answer)
        return future

    async def _look(self, ask: Ask) -> Grant | Denial:
        if self.is_cut:
            raise ConnectionResetError
        return self.site.ledger.peek(ask)

    def _tell(self, message: Refund | Return | Renew) -> None:
        self.sent.append(message)
        match message:
            case Refund():
                self.site.ledger.refund(self._writer, message)
            case Return():
                self.site.ledger.give_back(self._writer, message)
            case Renew():
                self.site.ledger.renew(self._writer, message)

    def deliver(self) -> None:
        for future, answer in self._waiting:
            future.set_result(answer)
        self._waiting.clear()

    def cut(self) -> None:
        for future, _ in self._waiting:
            future.set_exception(ConnectionResetError())
        self._waiting.clear()

    def now(self) -> float:
        return (self.site.now_us - START_US) / SECOND

    def sweep(self) -> None:
        self.wallet.sweep(self.now())

    async def take(self, account: Account = ACCOUNT, cost: Cost = 1000, charge: str = "c") -> Charge | Denial:
        answer = self.wallet.take(account, charge, cost)
        return answer if isinstance(answer, Charge | Denial) else await answer

    async def lend(self) -> None:
        """Eight takes, after which the wallet holds a lease of seven units."""
        for _ in range(8):
            await self.take()

    async def spend_all(self) -> None:
        """Fifteen takes, after which the wallet holds no unit and will ask for a lease."""
        for _ in range(15):
            await self.take()

    @property
    def asks(self) -> int:
        return sum(isinstance(message, Ask) for message in self.sent)

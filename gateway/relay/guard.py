"""Guessing of credentials: an address that fails too often is refused for a while, whatever it then shows (S09).

Each failed login takes one unit of the address's rate, from the ledger, so that all workers count together, and from
this worker's own count, which is exact at once and goes on where the ledger cannot be asked. While an address has used
its rate up, it is refused before its credential is looked at: a guess that is right then is not told from a wrong one.
Clients of a unix socket have no address and are not counted.
"""

import math
from collections import OrderedDict
from collections.abc import Awaitable

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.ledger.lease import Account, Charge
from gateway.ledger.limit import Denial, LedgerDown, Rate
from gateway.networks import group_address
from gateway.plugin import BasePlugin, BaseSettings, Services
from gateway.settings import units
from gateway.tasks import spawn

RULE = "failed_logins"
_FAILURES = frozenset((1002, 1003, *range(1005, 1014)))  # not 1001: nothing was tried; nor 1004: it fits no key
_UNIT = 1000  # milli-units
_MINUTES = 300  # seconds after which a client should not try by itself
_ADDRESSES = 20_000  # that failed lately, remembered in a worker


class _Suspect:
    """An address that failed: when its own count is empty again, and until when it is refused; monotonic seconds."""

    __slots__ = ("account", "empty_at", "until")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.empty_at = 0.0
        self.until = 0.0


class Guard(BasePlugin[BaseSettings]):
    """A step before the first plugin that authenticates. `rate` is failures per period and address."""

    def __init__(self, rate: units.Rate) -> None:
        super().__init__(BaseSettings())
        self._rate = rate
        self._interval = rate.period / rate.count
        self._suspects: OrderedDict[str, _Suspect] = OrderedDict()

    async def start(self, services: Services) -> None:
        self._ledger = services.ledger
        self._now = services.clock.monotonic
        self._wall = services.clock.wall

    def access(self, exchange: Exchange) -> None:
        """Raises GatewayError 1508."""
        if not self._suspects:
            return
        suspect = self._suspects.get(_name(exchange.peer))
        if suspect is None:
            return
        now = self._now()
        own = suspect.empty_at - (self._rate.count - 1) * self._interval  # when one more failure fits
        wait = max(suspect.until, own) - now
        if wait > 0:
            exchange.rule = RULE
            raise self._refuse(exchange.peer, wait)

    def log(self, exchange: Exchange) -> None:
        error = exchange.error
        if error is not None and error.number in _FAILURES and exchange.peer:
            self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        suspect = self._find(_name(exchange.peer))
        suspect.empty_at = max(suspect.empty_at, self._now()) + self._interval
        taken = self._ledger.take(suspect.account, exchange.id, _UNIT)
        if isinstance(taken, Denial):
            self._block(suspect, taken)
        elif not isinstance(taken, Charge):
            spawn(self._await(suspect, taken), RULE)

    async def _await(self, suspect: _Suspect, taken: Awaitable[Charge | Denial]) -> None:
        try:
            answer = await taken
        except LedgerDown:
            return  # the worker's own count stands
        if isinstance(answer, Denial):
            self._block(suspect, answer)

    def _block(self, suspect: _Suspect, denial: Denial) -> None:
        suspect.until = max(suspect.until, self._now() + denial.wait_us / 1e6)

    def _find(self, name: str) -> _Suspect:
        suspect = self._suspects.get(name)
        if suspect is None:
            period = self._rate.period * 1_000_000
            rate = Rate(f"{{ip:{name}}}:{RULE}", self._rate.count, period, self._rate.count)
            suspect = self._suspects[name] = _Suspect(Account((rate,)))
            if len(self._suspects) > _ADDRESSES:
                self._suspects.popitem(last=False)
        self._suspects.move_to_end(name)
        return suspect

    def _refuse(self, peer: str, wait: float) -> GatewayError:
        seconds = max(1, math.ceil(wait))
        limit = self._rate.count
        details = {"rule": RULE, "limit": limit, "used": limit, "reset": math.ceil(self._wall() + wait)}
        text = f"{peer} failed to log in more often than {self._rate!r}. Send a valid key in {seconds} s."
        headers = {"Retry-After": str(seconds), "x-should-retry": "true" if seconds <= _MINUTES else "false"}
        return GatewayError(1508, text, details=details, headers=headers)


def _name(peer: str) -> str:
    return group_address(peer) if ":" in peer else peer

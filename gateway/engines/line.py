"""Those of one class who wait for a slot of a backend: fair between consumers by tokens, in order within each. Pure.

The next slot goes to the consumer that has had the fewest tokens: those of requests that ended, and what those that run
are thought to take. So two consumers that always have somebody waiting get equal tokens, whatever the size or number of
their requests (weighted fair queueing, Demers, Keshav and Shenker 1989; with tokens, Sheng et al. 2024).

Virtual `time` is what a consumer has had that always wanted more. Who comes, or comes back, starts there, but for a few
requests that he was behind or ahead: idleness earns no credit, and nobody who joins starves those who wait.
"""

import itertools
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

import msgspec

_SLACK = 4  # times the largest request of late: how far from `time` a consumer that comes back may be
_FADING = 0.99  # of `largest`, a request
_LEARNING = 8  # requests over which `truth` is averaged
_IDLE = 1024  # accounts of consumers that ask for nothing now, which are kept


class Ticket(msgspec.Struct, frozen=True):
    """A request of a worker. `writer` is the worker instance's unique name."""

    writer: str
    request: str


class Account:
    """A consumer: `used` tokens, those `claimed` by `running` requests, and the claims of those that wait.

    `truth` is the part of its claims that its requests took of late: who cannot tell how long an answer will be claims
    a lot.
    """

    __slots__ = ("claimed", "mark", "running", "truth", "used", "waiting")

    def __init__(self, used: float) -> None:
        self.used = used
        self.claimed = 0
        self.truth = 1.0
        self.running = 0
        self.mark = 0  # of its entry in the order of turns; 0: it has none
        self.waiting: dict[Ticket, int] = {}  # in order of arrival

    @property
    def served(self) -> float:
        return self.used + self.claimed * self.truth

    def turns(self) -> Iterator[float]:
        """What it will have had when it is the turn of each request that waits."""
        return itertools.accumulate((claim * self.truth for claim in self.waiting.values()), initial=self.served)


class Line:
    """One class's queue. `count` wait. Who calls remembers each request's consumer and estimate."""

    def __init__(self) -> None:
        self.count = 0
        self._time = 0.0  # tokens
        self._largest = 0.0  # tokens
        self._accounts: dict[str, Account] = {}
        self._busy: set[str] = set()  # with requests that run or wait
        self._waiting: dict[str, Account] = {}
        self._order: list[tuple[float, int, Account]] = []  # a heap of `served`; entries whose mark is old do not count
        self._marks = itertools.count(1)

    def join(self, ticket: Ticket, consumer: str, tokens: int) -> None:
        """Wait behind the consumer's other requests."""
        account = self._enter(consumer)
        account.waiting[ticket] = tokens
        self._waiting[consumer] = account
        self.count += 1
        if not account.mark:
            self._place(account)

    def leave(self, ticket: Ticket, consumer: str) -> None:
        """Wait no longer."""
        account = self._accounts[consumer]
        del account.waiting[ticket]
        self.count -= 1
        if not account.waiting:
            del self._waiting[consumer]
            account.mark = 0
            self._rest(consumer, account)

    def first(self) -> Ticket:
        """Whose turn it is; only to be asked while somebody waits."""
        while self._order[0][1] != self._order[0][2].mark:
            heappop(self._order)
        account = self._order[0][2]
        self._time = max(self._time, account.used)
        return next(iter(account.waiting))

    def take(self, consumer: str, tokens: int) -> None:
        """A request of `consumer` runs from now on."""
        account = self._enter(consumer)
        account.claimed += tokens
        account.running += 1
        self._place(account)

    def settle(self, consumer: str, tokens: int, used: int) -> None:
        """A request that had claimed `tokens` has ended."""
        account = self._accounts[consumer]
        account.claimed -= tokens
        account.truth += (used / max(tokens, 1) - account.truth) / _LEARNING
        account.running -= 1
        account.used += used
        self._place(account)
        self._time += used / len(self._busy)
        self._largest = max(self._largest * _FADING, used)
        self._rest(consumer, account)

    def longest(self) -> tuple[str, int]:
        """The consumer with the most requests waiting, and how many; only to be asked while somebody waits."""
        consumer, account = max(self._waiting.items(), key=lambda item: len(item[1].waiting))
        return consumer, len(account.waiting)

    def last(self, consumer: str) -> Ticket:
        """The youngest request that waits for a consumer."""
        return next(reversed(self._waiting[consumer].waiting))

    def length(self, consumer: str) -> int:
        """How many requests of a consumer wait."""
        account = self._waiting.get(consumer)
        return 0 if account is None else len(account.waiting)

    def ahead(self, consumer: str, ticket: Ticket | None = None) -> int:
        """How many have their turn before `ticket`, or before a new request of `consumer`, if nobody comes or goes."""
        account = self._accounts.get(consumer)
        turn, before = self._time, 0
        if account is not None:
            turn = account.served
            for waiting, tokens in account.waiting.items():
                if waiting == ticket:
                    break
                turn += tokens * account.truth
                before += 1
        others = (other for other in self._waiting.values() if other is not account)
        return before + sum(theirs <= turn for other in others for theirs in other.turns())

    def _place(self, account: Account) -> None:
        """What the consumer has had is another amount: its turn comes sooner or later."""
        if not account.waiting:
            return
        account.mark = next(self._marks)
        if len(self._order) > 2 * len(self._waiting) + _IDLE:
            self._order = [(waiting.served, waiting.mark, waiting) for waiting in self._waiting.values()]
            heapify(self._order)
        else:
            heappush(self._order, (account.served, account.mark, account))

    def _enter(self, consumer: str) -> Account:
        """The account of a consumer that asks for something."""
        account = self._accounts.get(consumer)
        if account is None:
            if len(self._accounts) > 2 * len(self._busy) + _IDLE:
                self._accounts = {name: self._accounts[name] for name in self._busy}
            account = self._accounts[consumer] = Account(self._time)
        elif not account.waiting:
            slack = _SLACK * self._largest
            account.used = min(max(account.used, self._time - slack), self._time + slack)
        self._busy.add(consumer)
        return account

    def _rest(self, consumer: str, account: Account) -> None:
        if not account.running and not account.waiting:
            self._busy.discard(consumer)

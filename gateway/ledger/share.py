"""This replica's share of what replicas share, for as long as they cannot ask Redis. It lives in the supervisor.

With N replicas alive each grants 1/N of every rate and of every pool of slots, so that together they keep to the
limits. A bucket is met empty: what the others and Redis had granted before is not known here. Months are not decided
here, and nothing is written down.
"""

import contextlib
from collections.abc import Iterator, Mapping

from gateway.ledger.book import Book
from gateway.ledger.clock import Clock
from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Rate, Refund, Renew, Return, Slots
from gateway.ledger.record import Death, Entry

_MOST = 100_000  # rates met in one outage; of more, those met first are met anew


class Share:
    """Answers as an `EmbeddedLedger` does. `replicas` is how many there were when that was last known."""

    def __init__(self, clock: Clock) -> None:
        self.replicas = 1
        self._clock = clock
        self._book = Book()
        self._spent: dict[str, tuple[Rate, int]] = {}  # by key: the whole rate, and milli-units granted of it

    def ask(self, writer: str, ask: Ask) -> Grant | Denial:
        """Charge all needs, or none."""
        now_us = self._clock.steady_us()
        ask = Ask(ask.charge, tuple([self._scale(need) for need in self._meet(writer, ask.needs)]))
        answer = self._book.decide(ask, now_us, self._clock.wall_us())
        if isinstance(answer, Grant):
            self._book.apply(Entry.of(writer, now_us, ask, answer))
            self._spend([need for at, need in enumerate(ask.needs) if at not in answer.shadowed], 1)
        return answer

    def peek(self, ask: Ask) -> Grant | Denial:
        """What `ask` would answer now."""
        ask = Ask(ask.charge, tuple([self._scale(need) for need in ask.needs]))
        return self._book.decide(ask, self._clock.steady_us(), self._clock.wall_us())

    def refund(self, writer: str, refund: Refund) -> None:
        """Correct what was granted here; months are corrected elsewhere."""
        kept = [need for need in refund.needs if isinstance(need.limit, Slots) or need.limit.key in self._spent]
        needs = tuple([self._scale(need) for need in kept])
        self._book.apply(Entry(writer, self._clock.steady_us(), Refund(refund.charge, needs, "")))
        self._spend(needs, -1)

    def renew(self, writer: str, renew: Renew) -> None:
        """Prolong slots that were granted here."""
        self._book.apply(Entry(writer, self._clock.steady_us(), renew))

    def bury(self, writer: str) -> None:
        """`writer` is dead: free the slots it held."""
        self._book.apply(Entry(writer, self._clock.steady_us(), Death()))

    def end(self) -> Refund:
        """Redis answers again: what it must be told was spent, as far as that has not flowed back. Forgets it all."""
        now_us = self._clock.steady_us()
        needs = []
        for rate, units in self._spent.values():
            scaled = self._scale(Need(rate, 0)).limit
            assert isinstance(scaled, Rate)
            units = min(units, self._book.buckets.view(scaled, now_us).standing(0).used)
            if units > 0:
                needs.append(Need(rate, -units))
        self._book, self._spent = Book(), {}
        return Refund("outage", tuple(needs), "")

    def give_back(self, writer: str, lease: Return) -> None:
        """Nothing is leased here."""

    def settle(self, writer: str, totals: Mapping[tuple[str, str], int]) -> bool:
        """Months are settled elsewhere."""
        return False

    def unsettled(self) -> list[str]:
        """Nobody."""
        return []

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Nothing is written."""
        yield

    def close(self) -> None:
        """Nothing is kept."""

    def _meet(self, writer: str, needs: tuple[Need, ...]) -> tuple[Need, ...]:
        """Empty the buckets that are met for the first time in this outage."""
        for need in needs:
            rate = need.limit
            if isinstance(rate, Rate) and rate.key not in self._spent:
                self._spent[rate.key] = (rate, 0)
                if len(self._spent) > _MOST:
                    del self._spent[next(iter(self._spent))]
                scaled = self._scale(need).limit
                assert isinstance(scaled, Rate)
                empty = Refund("outage", (Need(scaled, -1000 * scaled.burst),), "")
                self._book.apply(Entry(writer, self._clock.steady_us(), empty))
        return needs

    def _spend(self, needs: list[Need] | tuple[Need, ...], sign: int) -> None:
        for need in needs:
            if isinstance(need.limit, Rate) and need.limit.key in self._spent:
                rate, units = self._spent[need.limit.key]
                self._spent[need.limit.key] = (rate, max(units + sign * need.cost, 0))

    def _scale(self, need: Need) -> Need:
        """The share of one replica; at least as much as this one cost, which would else never fit."""
        limit: Limit = need.limit
        if isinstance(limit, Rate):
            burst = min(max(limit.burst // self.replicas, -(-need.cost // 1000), 1), limit.burst)
            limit = Rate(limit.key, limit.count, limit.period_us * self.replicas, burst)
        elif isinstance(limit, Slots):
            limit = Slots(limit.key, max(limit.limit // self.replicas, 1), limit.ttl_us)
        return Need(limit, need.cost, need.shadow)

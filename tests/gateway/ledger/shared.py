"""The scripts of the shared authority on a real Redis, behind the interface that the embedded one has."""

import atexit
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from gateway.ledger.limit import Ask, Denial, Grant, Need, Quota, Refund, Renew, Return
from gateway.ledger.period import Month, month_at
from gateway.ledger.script import LEDGER, MONTH, OTHER_MONTH, Script, correct, index_key, month_key, read, take
from tests.gateway.ledger.authority import Site
from tests.redis import Caller, running_redis

_HOUR = 3600 * 1_000_000
Said = tuple[list[str], list[Any]]


class SharedLedger:
    """Decides by the clock of the test, `now`. A writer's months are settled as the control process does it."""

    batch = nullcontext  # nothing is written together

    def __init__(self, caller: Caller, now: Callable[[], int]) -> None:
        self._caller = caller
        self._now = now
        self._months: set[tuple[str, str]] = set()

    def ask(self, writer: str, ask: Ask) -> Grant | Denial:
        answer = self._decide("take", writer, ask)
        if isinstance(answer, Grant):
            self._months |= {(need.limit.key, answer.period) for need in ask.needs if isinstance(need.limit, Quota)}
        return answer

    def peek(self, ask: Ask) -> Grant | Denial:
        return self._decide("peek", "nobody", ask)

    def refund(self, writer: str, refund: Refund) -> None:
        self._months |= {(need.limit.key, refund.period) for need in refund.needs if isinstance(need.limit, Quota)}
        self._run(LEDGER, correct("refund", writer, refund.charge, refund.needs, refund.period, self._clock))

    def give_back(self, writer: str, lease: Return) -> None:
        needs = tuple(Need(limit, lease.units) for limit in lease.limits)
        self._run(LEDGER, correct("return", writer, lease.charge, needs, lease.period, self._clock))

    def renew(self, writer: str, renew: Renew) -> None:
        needs = tuple(Need(limit, 0) for limit in renew.limits)
        self._run(LEDGER, correct("renew", writer, renew.charge, needs, "", self._clock))

    def settle(self, writer: str, totals: Mapping[tuple[str, str], int]) -> bool:
        """As the control process of an instance that never settled anybody else."""
        is_known = False
        for quota_key, period in {*self._months, *totals}:
            key = month_key(quota_key, period)
            is_known |= self._caller.call("HEXISTS", key, f"w:{writer}") == 1
        if not is_known:
            return False
        for quota_key, period in {*self._months, *totals}:
            key = month_key(quota_key, period)
            settled = int(self._caller.call("HGET", key, "s:here") or 0) + totals.get((quota_key, period), 0)
            self._run(MONTH, ([key], ["set", "s:here", settled, 86_400_000, f"w:{writer}"]))
        self._caller.call("DEL", index_key(writer))
        return True

    @property
    def _clock(self) -> str:
        return str(self._now())

    def _decide(self, mode: str, writer: str, ask: Ask) -> Grant | Denial:
        month: Month | None = None
        quota = next((need.limit for need in ask.needs if isinstance(need.limit, Quota)), None)
        if quota is not None:
            month = month_at(self._now() - _HOUR, quota.zone, quota.anchor)  # this caller's clock is late
        reply = self._run(LEDGER, take(mode, writer, ask, month, self._clock))
        if reply[0] == OTHER_MONTH:
            assert quota is not None
            month = month_at(reply[4], quota.zone, quota.anchor)
            reply = self._run(LEDGER, take(mode, writer, ask, month, self._clock))
        return read(ask, month, reply)

    def _run(self, script: Script, said: Said) -> Any:
        keys, arguments = said
        return self._caller.call("EVAL", script.text, len(keys), *keys, *arguments)


class SharedSite(Site):
    """A Redis that has forgotten everything, and its scripts. It has one clock; crashes are not its matter."""

    ledger: SharedLedger
    steps_wall = False

    def __init__(self, _: Path) -> None:
        super().__init__()
        self._caller = _call_redis()
        self._caller.call("FLUSHALL")
        self.ledger = SharedLedger(self._caller, lambda: self.now_us)

    def used_in(self, key: str, period: str) -> int:
        return int(self._caller.call("HGET", month_key(key, period), "used") or 0)

    def crash(self) -> None:
        """Redis has it all, whoever dies."""

    def restart(self) -> None:
        """As a crash."""


@cache
def _call_redis() -> Caller:
    """One server for all tests of this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(Caller(stack.enter_context(running_redis()).port))

"""Are the limits that the gateway announces those that it keeps, and is `Retry-After` worth believing?"""

import asyncio
import re
from collections.abc import Iterator

from gateway.cli.loadtest.caller import Caller, Purse, Shot
from gateway.cli.loadtest.figure import Row, count_ends

_LONGEST_WAIT = 30.0  # seconds of Retry-After that are waited for
_POLICY = re.compile(r'"?[^";,]*"?;q=(\d+);w=(\d+)')  # IETF draft: RateLimit-Policy
_SHARE = 0.01  # of the burst that may be let through beyond it where many processes count together


class Limits:
    """Sends until it is told 429, compares, then waits as long as it was told and sends once more."""

    name = "limits"

    def __init__(self, caller: Caller, purse: Purse) -> None:
        self._caller = caller
        self._purse = purse
        self._first: Shot | None = None
        self._shots: list[Shot] = []
        self._retry: Shot | None = None
        self._is_over = False

    async def run(self) -> None:
        if not self._purse.take():
            return
        self._first = first = await self._caller.chat()
        if not first.is_served or _announced(first) is None:
            return
        now = asyncio.get_running_loop().time
        ends = now() + self._caller.target.seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(self._caller.target.connections):
                group.create_task(self._send_until(ends))
        if (wait := self._wait()) is not None and wait <= _LONGEST_WAIT and self._purse.take():
            await asyncio.sleep(wait)
            self._retry = await self._caller.chat()

    async def _send_until(self, ends: float) -> None:
        now = asyncio.get_running_loop().time
        while not self._is_over and now() < ends and self._purse.take():
            shot = await self._caller.chat()
            self._shots.append(shot)
            if not shot.is_served:
                self._is_over = True

    def rows(self) -> Iterator[Row]:
        first = self._first
        if first is None:
            yield Row(self.name, "announced", "skipped", "nothing was sent")
        elif not first.is_served:
            yield Row(self.name, "announced", "skipped", f"the first request was not served: {count_ends([first])}")
        elif (announced := _announced(first)) is None:
            yield Row(self.name, "announced", "skipped", "answers name no limit: it is unlimited, or not told")
        else:
            yield self._judge(first, *announced)
            yield self._judge_retry()

    def _judge(self, first: Shot, burst: int, left: int) -> Row:
        """GCRA lets the burst through, and then what flows back: the rate times the time."""
        admitted = sum(shot.is_served for shot in self._shots)
        refused = [shot for shot in self._shots if shot.status == 429]
        told = f"{left} of {burst} announced, {admitted} admitted"
        if not refused:
            return Row(self.name, "admitted", "skipped", f"{told}: the bounds of this test were reached first")
        if any(shot.number not in (0, 1501) for shot in refused):
            return Row(self.name, "admitted", "skipped", f"another limit was reached: {count_ends(refused)}")
        spent = max(shot.started + shot.seconds for shot in self._shots) - first.started
        share = int(burst * _SHARE)
        most = left + _rate(first) * spent + share + 1
        is_kept = left - share <= admitted <= most
        return Row(
            self.name, "admitted", "ok" if is_kept else "FAILED", f"{told} (at most {most:.0f}) in {spent:.1f} s"
        )

    def _judge_retry(self) -> Row:
        wait = self._wait()
        if self._retry is not None:
            is_kept = self._retry.is_served
            return Row(
                self.name, "Retry-After", "ok" if is_kept else "FAILED", f"{count_ends([self._retry])} after {wait:g} s"
            )
        if not any(shot.status == 429 for shot in self._shots):
            return Row(self.name, "Retry-After", "skipped", "nothing was refused")
        if wait is None:
            return Row(self.name, "Retry-After", "FAILED", "a 429 did not say when to come back")
        return Row(self.name, "Retry-After", "skipped", f"{wait:g} s is too long to wait for")

    def _wait(self) -> float | None:
        """The longest wait that was told, in seconds; None if none was."""
        told = [shot.headers.get("retry-after", "") for shot in self._shots if shot.status == 429]
        return max((float(text) for text in told if text.isdecimal()), default=None)


def _announced(shot: Shot) -> tuple[int, int] | None:
    """The limit and what is left of it, in requests, as the answer says."""
    for limit, left in (
        ("x-ratelimit-limit", "x-ratelimit-remaining"),
        ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"),
    ):
        if (most := shot.headers.get(limit, "")).isdecimal() and (rest := shot.headers.get(left, "")).isdecimal():
            return int(most), int(rest)
    return None


def _rate(shot: Shot) -> float:
    """Requests a second that flow back; 0 where that is not told."""
    match = _POLICY.search(shot.headers.get("ratelimit-policy", ""))
    return int(match[1]) / int(match[2]) if match is not None and int(match[2]) else 0.0

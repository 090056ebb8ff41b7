"""Whether an engine that answers no probe is at work. A busy one may be deaf, and must not be killed for it."""

import asyncio
import os
from collections.abc import Callable, Iterator


class Effort:
    """What one process group is seen to do for the requests that it has.

    `progressed` tells when the last request that it answered was finished; None: it has no requests.
    """

    def __init__(self, group: int, progressed: Callable[[], float | None]) -> None:
        self._group = group
        self._progressed = progressed
        self._looked = 0.0
        self._used: int | None = None
        self._has_looked = False

    def forget(self) -> None:
        """What was seen is of no account any more: the next look is a first one."""
        self._has_looked = False

    async def is_seen(self) -> bool:
        """Whether it used a processor or finished a request since the look before.

        Not at the first look, not without requests. Where there is no /proc, requests that are finished alone count.
        """
        progressed = self._progressed()
        if progressed is None:
            self.forget()
            return False
        is_second, self._has_looked = self._has_looked, True
        looked, self._looked = self._looked, asyncio.get_running_loop().time()
        before, self._used = self._used, await asyncio.to_thread(read_ticks, self._group)
        has_run = before is not None and self._used is not None and self._used > before
        return is_second and (has_run or progressed > looked)


def read_ticks(group: int) -> int | None:
    """Clock ticks of a processor that the processes of a group have used; None where there is no /proc."""
    try:
        return sum(_find_ticks(group))
    except OSError:
        return None


def _find_ticks(group: int) -> Iterator[int]:
    """Of each process: proc(5), fields 5, 14 and 15 of `stat`."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[2]) == group:
            yield int(fields[11]) + int(fields[12])

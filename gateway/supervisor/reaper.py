"""Reaping strangers: as process 1 of a container the gateway inherits every orphan, and must bury it."""

import asyncio
import os
from collections.abc import Callable

_TICK = 1.0  # seconds


async def reap_strays(is_ours: Callable[[int], bool]) -> None:
    """Reap dead children that nobody here started; those that somebody waits for are left to him. Never returns."""
    while True:
        await asyncio.sleep(_TICK)
        while (pid := _find_dead()) is not None and not is_ours(pid):
            _bury(pid)


def _find_dead() -> int | None:
    """A dead child that is not reaped yet, without reaping it."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _bury(pid: int) -> None:
    os.waitpid(pid, os.WNOHANG)

"""What becomes of a slot whose client has left while its engine goes on for nobody.

Some engines finish a call that is not streamed, however long it takes. Whoever got the slot at once would wait in the
engine instead of in the queue, where nobody tells him how long, and would be the one who is timed out.
"""

import asyncio
import os

import msgspec

from gateway.engines.run import Run

_STEP = 0.5  # seconds
_RESTING = 0.1  # processor seconds a second, below which an engine is at rest


class Aftermath(msgspec.Struct, frozen=True):
    """The slot is given on when the engine is at rest, or after `grace` seconds; or it is started anew then."""

    restarts: bool = False
    grace: float = 20.0


async def outlast(run: Run, grace: float) -> bool:
    """Wait until a run is at rest or over, at most `grace` seconds; whether it is.

    Where the system does not tell what a process uses, nobody can say.
    """
    clock = asyncio.get_running_loop().time
    end, used = clock() + grace, _read_use(run.pid)
    while not run.over.done():
        if clock() >= end:
            return False
        before, began = used, clock()
        await asyncio.wait([run.over], timeout=min(_STEP, end - began))
        used = _read_use(run.pid)
        if before is not None and used is not None and used - before < _RESTING * (clock() - began):
            return True
    return True


def _read_use(pid: int) -> float | None:
    """Processor seconds that a process has used: proc(5), fields 14 and 15 of `stat`."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""How long the requests at an engine have been waiting for it, as the workers that carry them tell."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.engines.slots import Slots
from gateway.link import Command, Done, Failed

Ask = Callable[[str, Command], Awaitable[Done | Failed]]


async def measure_silence(slots: Slots, ask: Ask) -> float:
    """Seconds for which all requests at an engine have been waiting for a byte that would be read.

    0 where one of them is not, where there are none, and where a worker does not tell.
    """
    run = slots.engine.run
    command = Command("silence", {"load": run.load if run is not None else ""})
    answers = await asyncio.gather(*[ask(writer, command) for writer in slots.writers()])
    if not all(isinstance(answer, Done) for answer in answers):
        return 0.0
    told = [answer.data for answer in answers if isinstance(answer, Done) and answer.data is not None]
    return min(told, default=0.0)


async def ask_nobody(writer: str, command: Command) -> Failed:
    """Where there are no workers."""
    return Failed("no worker can be asked")

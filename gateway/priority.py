"""The classes in which requests wait for a slot, and are refused under overload. The first is served first."""

from typing import Literal, get_args

Priority = Literal["critical", "high", "normal", "low"]

PRIORITIES: tuple[Priority, ...] = get_args(Priority)
NORMAL: Priority = "normal"


def lower(priority: Priority, asked: str) -> Priority:
    """The class of a request whose tier has `priority`, and that asks for another: only a lower one is given."""
    for known in PRIORITIES[PRIORITIES.index(priority) + 1 :]:
        if known == asked:
            return known
    return priority

"""What is told of an engine, its queue and its place in memory."""

from typing import Any

import msgspec

from gateway.engines.slots import Slots
from gateway.engines.states import tell_life

_TOLD = ("load_seconds", "in_use", "waiting", "memory", "pinned", "idle", "wait")  # facts that are no secrets


def describe(slots: Slots) -> dict[str, Any]:
    """Everything that status and metrics tell; times are seconds."""
    ration = msgspec.to_builtins(slots.engine.ration)  # what the system cannot keep is logged at the start
    return slots.engine.describe() | slots.describe() | slots.room.describe() | {"ration": ration}


def describe_life(slots: Slots) -> dict[str, Any]:
    """What callers may know: whether it is loaded, and how it is used."""
    facts = describe(slots)
    told = {"status": tell_life(slots.engine.condition, slots.engine.wanted)}
    return told | {"restarts": sum(facts["restarts"].values())} | {fact: facts[fact] for fact in _TOLD}

"""What of an operator's commands stands in the audit log: those that change something, without anything secret."""

from collections.abc import Mapping
from typing import Any

from gateway.link import Command, Done, Failed

ACTS = frozenset((
    "reload", "drain", "models.load", "models.unload", "key.new", "key.revoke", "key.rotate", "consumer.set",
    "consumer.remove",
))  # fmt: skip
_SUBJECTS = ("id", "name", "consumer", "model")
_TOLD = (
    "consumer", "tier", "role", "project", "models", "routes", "methods", "addresses", "expires", "overlap",
    "override_tier", "override_until",
)  # fmt: skip


def describe_act(command: Command, answer: Done | Failed, actor: str) -> dict[str, Any] | None:
    """The arguments of `audit.note`; None for what is no act."""
    if command.name not in ACTS:
        return None
    asked = command.arguments
    details = {name: _plain(asked[name]) for name in _TOLD if asked.get(name)}
    if isinstance(answer, Failed):
        details["reason"] = answer.reason
    elif isinstance(answer.data, Mapping) and "id" in answer.data:
        details["made"] = str(answer.data["id"])
    subject = next((str(asked[name]) for name in _SUBJECTS if asked.get(name)), "")
    outcome = "refused" if isinstance(answer, Failed) else "done"
    return {"actor": actor, "action": command.name, "subject": subject, "outcome": outcome, "details": details}


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

"""Filters as parameters of an address: what is named is wanted, all of them together."""

from typing import Any

import msgspec

from gateway.control.api.call import Page
from gateway.control.query.condition import Condition, Every, Frame, Refusal, compare

_BOUNDS = {
    "from": ("ts", "gte"), "to": ("ts", "lt"),
    "min_duration_ms": ("duration_ms", "gte"), "max_duration_ms": ("duration_ms", "lte"),
    "min_cost": ("total_cost", "gte"), "max_cost": ("total_cost", "lte"),
    "min_tokens": ("total_tokens", "gte"), "max_tokens": ("total_tokens", "lte"),
    "text": ("text", "text"),
}  # fmt: skip


class Filters(Page, frozen=True, kw_only=True):
    """Parameters that may stand several times: any one of the values; for `tags`: all of them.

    `from` (inclusive) and `to` are `2026-11-21T10:00:00Z` or how long ago (`1h`, `7d`); durations are milliseconds,
    costs USD; `text` is searched for in what was asked and answered.
    """

    from_: str = msgspec.field(name="from", default="")
    to: str = ""
    id: tuple[str, ...] = ()
    trace_id: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    project_id: tuple[str, ...] = ()
    session_id: tuple[str, ...] = ()
    user_id: tuple[str, ...] = ()
    consumer: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    model_asked: tuple[str, ...] = ()
    operation_type: tuple[str, ...] = ()
    backend: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    finish_reason: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    status_code: tuple[int, ...] = ()
    error: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    min_duration_ms: float | None = None
    max_duration_ms: float | None = None
    min_cost: float | None = None
    max_cost: float | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    text: str = ""


class TraceQuery(Filters, frozen=True, kw_only=True):
    """A page of traces. `sort` is ts, duration_ms, total_cost or total_tokens; a dash before it: the largest first."""

    sort: str = "-ts"


_PARAMETERS = msgspec.structs.fields(Filters)[len(msgspec.structs.fields(Page)) :]


def to_condition(filters: Filters, frame: Frame) -> Condition:
    """Raises Refusal."""
    parts: list[Condition] = []
    for field in _PARAMETERS:
        name, value = field.encode_name, getattr(filters, field.name)
        if value in ((), "", None):
            continue
        if name == "tags":
            tags = [tag.strip() for given in value for tag in given.split(",")]
            parts.extend(compare(name, "contains", tag, frame) for tag in tags if tag)
        elif isinstance(value, tuple):
            parts.append(compare(name, "eq", value[0], frame) if len(value) == 1 else compare(name, "in", value, frame))
        else:
            parts.append(_bound(name, value, frame))
    return Every(tuple(parts))


def _bound(name: str, value: Any, frame: Frame) -> Condition:
    try:
        return compare(*_BOUNDS[name], value, frame)
    except Refusal as refusal:
        raise Refusal(str(refusal), name) from None

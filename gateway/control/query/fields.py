"""The fields of a trace that can be filtered and sorted by, each with what it is of a stored row.

`value` is written once and works on both: on the table's columns it makes SQL, on a row at hand it gives the value.
Stored are microseconds, milli-units and nano-USD; callers are told milliseconds, units and USD: `scale` is between.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal

import msgspec

Kind = Literal["text", "number", "moment", "truth", "tags"]

_MICRO, _MILLI, _NANO = 1_000_000, 1000, 1_000_000_000


class Field(msgspec.Struct, frozen=True):
    """`empty` is the stored value that says: there is none. It is told as null."""

    value: Callable[[Any], Any]
    kind: Kind = "text"
    scale: int = 1
    empty: Any = ""


def _text(column: str) -> Field:
    return Field(attrgetter(column))


def _count(column: str) -> Field:
    return Field(attrgetter(column), "number", empty=None)


def _part(column: str) -> Field:
    """How long a part took; 0: it did not happen."""
    return Field(attrgetter(column), "number", _MILLI, empty=0)


def _number(column: str) -> Field:
    return Field(attrgetter(column), "number", empty=0)


FIELDS: dict[str, Field] = {
    "ts": Field(attrgetter("started"), "moment", empty=None),
    "finished": Field(attrgetter("finished"), "moment", empty=0),
    "id": _text("id"),
    "request_id": _text("request_id"),
    "trace_id": _text("trace"),
    "span_id": _text("span"),
    "parent_span_id": _text("parent"),
    "provider": _text("provider"),
    "model": _text("model"),
    "model_asked": _text("model_asked"),
    "operation_type": _text("operation"),
    "prompt_tokens": _count("tokens_in"),
    "completion_tokens": _count("tokens_out"),
    "cached_tokens": _count("tokens_cached"),
    "total_tokens": Field(lambda row: row.tokens_in + row.tokens_out, "number", empty=None),
    "tokens_source": _text("tokens_source"),
    "total_cost": Field(attrgetter("cost_nano"), "number", _NANO, None),
    "price": _text("price"),
    "duration_ms": Field(attrgetter("total_us"), "number", _MILLI, None),
    "ttft_ms": _part("first_token_us"),
    "queue_ms": _part("queue_us"),
    "load_ms": _part("load_us"),
    "connect_ms": _part("connect_us"),
    "decode_ms": _part("decode_us"),
    "overhead_ms": Field(attrgetter("overhead_us"), "number", _MILLI, None),
    "status_code": _number("status"),
    "outcome": _text("outcome"),
    "error": _number("error"),
    "cancel": _text("cancel"),
    "rule": _text("rule"),
    "finish_reason": _text("finish"),
    "user_id": _text("user"),
    "session_id": _text("session"),
    "project_id": _text("project"),
    "consumer": _text("consumer"),
    "tier": _text("tier"),
    "role": _text("role"),
    "credential": _text("credential"),
    "tags": Field(attrgetter("tags"), "tags"),
    "method": _text("method"),
    "path": _text("path"),
    "peer": _text("peer"),
    "route": _text("route"),
    "backend": _text("backend"),
    "endpoint": _text("endpoint"),
    "engine_load": _text("load"),
    "stream": Field(attrgetter("stream"), "truth", empty=None),
    "cache": _text("cache"),
    "retries": _count("retries"),
    "upstream_status": _number("upstream_status"),
    "units": Field(attrgetter("units"), "number", _MILLI, None),
    "bytes_in": _count("bytes_in"),
    "bytes_out": _count("bytes_out"),
    "generation": _count("generation"),
}

PENDING = "pending"  # instead of an outcome, of a request that is not closed

"""A trace as callers see it: the observatory's names first, then what the gateway knows beside them."""

from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import msgspec

from gateway.catalogue import CATALOGUE
from gateway.control.query.fields import FIELDS, PENDING
from gateway.control.query.moment import show_moment
from gateway.control.tables import GOOD, column_names, requests
from gateway.journal import Closed, Opened
from gateway.price import parse_rates, price_tokens

_NANO = 1e9

_COLUMNS = tuple(requests.c.keys())
_of_opened = attrgetter(*column_names(Opened))
_of_closed = attrgetter(*column_names(Closed))


class Failure(msgspec.Struct, frozen=True):
    """What went wrong, by its number in the catalogue."""

    number: int
    code: str
    title: str
    cure: str


class Feedback(msgspec.Struct, frozen=True):
    """What somebody thinks of an answer; `score` is 0 to 1."""

    id: str
    consumer: str
    score: float
    label: str
    comment: str
    created: str


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Durations are milliseconds, costs USD; null: there was none, or it is not known."""

    id: str
    ts: str
    trace_id: str | None
    span_id: str | None
    parent_span_id: str | None
    request_id: str
    status: str  # success, error or pending
    status_code: int | None
    status_message: str
    error: Failure | None
    provider: str | None
    model: str | None
    operation_type: str | None
    input_text: str | None = None
    output_text: str | None = None
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int
    prompt_cost: float | None
    completion_cost: float | None
    total_cost: float | None
    duration_ms: float | None
    ttft_ms: float | None
    queue_ms: float | None
    load_ms: float | None
    connect_ms: float | None
    decode_ms: float | None
    overhead_ms: float | None
    user_id: str | None
    session_id: str | None
    project_id: str | None
    environment: str | None
    tags: list[str]
    consumer: str | None
    tier: str | None
    role: str | None
    credential: str | None
    route: str | None
    model_asked: str | None
    backend: str | None
    endpoint: str | None
    engine_load: str | None
    stream: bool
    finished: str | None
    outcome: str
    cancel: str | None
    rule: str | None
    finish_reason: str | None
    units: float
    tokens_source: str | None
    price: str | None
    cache: str | None
    retries: int
    upstream_status: int | None
    bytes_in: int
    bytes_out: int
    generation: int
    attributes: dict[str, str]
    feedback: list[Feedback] | None = None


_OTHERS = frozenset(("ts", "finished", "error", "tags", "method", "path", "peer"))  # not told as they are stored
_FIELDS = [(name, field) for name, field in FIELDS.items() if name not in _OTHERS]
_TEXTS = [(name, field.value) for name, field in _FIELDS if field.kind == "text"]
_NUMBERS = [(name, field.value, field.empty) for name, field in _FIELDS if field.kind != "text" and field.scale == 1]
_SCALED = [(name, field.value, field.empty, field.scale) for name, field in _FIELDS if field.scale != 1]


def flatten(closed: Closed) -> Any:
    """A record of the journal as a row of `requests`."""
    values = (*_of_opened(closed.opened), *_of_closed(closed), "")
    return SimpleNamespace(**dict(zip(_COLUMNS, values, strict=True)))


def flatten_open(opened: Opened, bytes_out: int, tokens_out: int) -> Any:
    """What is known of a request that goes on."""
    units = opened.reserved
    return flatten(Closed(opened, 0, 0, PENDING, units=units, tokens_out=tokens_out, bytes_out=bytes_out))


def show(
    row: Any, environment: str, texts: tuple[str | None, str | None] = (None, None), feedback: Any = None
) -> Trace:
    """A row of `requests`, or one that was flattened, as a trace."""
    known: dict[str, Any] = {name: get(row) or None for name, get in _TEXTS}
    for name, get, empty in _NUMBERS:
        known[name] = None if (value := get(row)) == empty else value
    for name, get, empty, scale in _SCALED:
        known[name] = None if (value := get(row)) is None or value == empty else value / scale
    prompt_cost, completion_cost = _split_cost(row)
    pending = row.outcome == PENDING
    if pending:
        known |= {"duration_ms": None, "overhead_ms": None}
    return Trace(
        **known,
        ts=show_moment(row.started),
        finished=show_moment(row.finished) if row.finished else None,
        status=PENDING if pending else "success" if row.outcome in GOOD else "error",
        status_message=_describe(row),
        error=_find_failure(row.error),
        tags=row.tags.split(",") if row.tags else [],
        prompt_cost=prompt_cost,
        completion_cost=completion_cost,
        environment=environment or None,
        attributes={"method": row.method, "path": row.path, "peer": row.peer},
        input_text=texts[0],
        output_text=texts[1],
        feedback=feedback,
    )


def _split_cost(row: Any) -> tuple[float | None, float | None]:
    """What of the cost the prompt made; the rest is the completion's, so that both add up."""
    rates = parse_rates(row.price) if row.cost_nano is not None else None
    if rates is None:
        return None, None
    prompt = min(row.cost_nano, price_tokens(rates, row.tokens_in, 0, row.tokens_cached))
    return prompt / _NANO, (row.cost_nano - prompt) / _NANO


def _describe(row: Any) -> str:
    entry = CATALOGUE.get(row.error)
    return entry.title if entry is not None else row.outcome.replace("_", " ")


def _find_failure(number: int) -> Failure | None:
    entry = CATALOGUE.get(number)
    return Failure(number, entry.code, entry.title, entry.cure) if entry is not None else None

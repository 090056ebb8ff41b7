"""Traces: pages of them, one of them, searches among them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from gateway.control.api.call import Call, Found, Listed, Page, Query
from gateway.control.api.endpoint import Endpoint
from gateway.control.api.feedback import find_feedback
from gateway.control.query.condition import Condition, Every, Frame, Refusal
from gateway.control.query.cursor import Cursor, digest_query, parse_cursor, show_cursor
from gateway.control.query.fields import PENDING
from gateway.control.query.filters import TraceQuery, to_condition
from gateway.control.query.page import Sort, find_row, find_rows, parse_sort
from gateway.control.query.tree import Clause, read_tree
from gateway.control.query.view import Trace, show
from gateway.control.tables import contents
from gateway.errors import GatewayError

_CLOSED = {"Cache-Control": "private, max-age=300"}  # but for feedback that comes later it does not change
_OPEN = {"Cache-Control": "private, no-store"}

Texts = Mapping[str, tuple[str, str]]


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A filter as a tree, and the order: ts, duration_ms, total_cost, total_tokens; a dash: the largest first."""

    filter: Clause | None = None
    sort: str = "-ts"


async def list_traces(call: Call[TraceQuery, None]) -> Listed:
    return await _list(call, partial(to_condition, call.query), call.query.sort, 1219)


async def search_traces(call: Call[Page, Search]) -> Listed:
    clause = call.body.filter
    return await _list(
        call, lambda frame: Every() if clause is None else read_tree(clause, frame), call.body.sort, 1214
    )


async def show_trace(call: Call[Query, None]) -> Found:
    """By the gateway's id, or by a W3C trace id: then the newest request of the trace."""
    scope, id, environment = call.caller.scope(), call.path["id"], find_environment(call)

    def find(connection: Connection) -> Trace | None:
        row = find_row(connection, scope, id)
        if row is None:
            return None
        texts = find_texts(connection, (row.id,))
        return show(row, environment, texts.get(row.id, (None, None)), find_feedback(connection, row.id))

    trace = await call.read(find)
    if trace is None:
        raise GatewayError(1303, "There is no trace with this id, or it is none of yours.")
    return Found(trace, headers=_OPEN if trace.status == PENDING else _CLOSED)


def find_environment(call: Call[Any, Any]) -> str:
    return call.house.config().trace.environment


def find_texts(connection: Connection, ids: Iterable[str]) -> Texts:
    """What was asked and answered, where it is kept."""
    rows = connection.execute(select(contents).where(contents.c.id.in_(list(ids))))
    return {row.id: (row.input, row.output) for row in rows}


def wants_texts(fields: str) -> bool:
    return not fields or "input_text" in fields or "output_text" in fields


async def _list(call: Call[Any, Any], read: Callable[[Frame], Condition], sort_text: str, number: int) -> Listed:
    """A page of what `read` makes of the call; `number` is how its refusals are told."""
    scope, environment, limit = call.caller.scope(), find_environment(call), call.query.limit
    try:
        sort = parse_sort(sort_text)
    except ValueError as error:
        raise GatewayError(number, f"Not allowed: {error}.", param="sort") from None
    after = _read_cursor(call.query.cursor)
    now = call.clock() if after is None else after.now
    condition = refuse_by(number, read, Frame(now, environment))
    digest = digest_query(condition, sort.text)
    if after is not None and after.digest != digest:
        raise GatewayError(1219, "The cursor belongs to another query; begin without one.", param="cursor")

    def find(connection: Connection) -> tuple[list[Trace], Cursor | None]:
        rows, has_more = find_rows(connection, scope, condition, sort, after, limit)
        texts = find_texts(connection, [row.id for row in rows]) if wants_texts(call.query.fields) else {}
        traces = [show(row, environment, texts.get(row.id, (None, None))) for row in rows]
        return traces, _behind(rows[-1], sort, now, digest) if has_more else None

    traces, cursor = await call.read(find)
    return Listed(traces, None if cursor is None else show_cursor(cursor), cursor is not None)


def refuse_by(number: int, read: Callable[[Frame], Condition], frame: Frame) -> Condition:
    """What `read` makes. Raises GatewayError `number`."""
    try:
        return read(frame)
    except Refusal as refusal:
        raise GatewayError(number, f"Not allowed: {refusal}.", param=refusal.field) from None


def _read_cursor(text: str) -> Cursor | None:
    try:
        return parse_cursor(text) if text else None
    except ValueError as error:
        raise GatewayError(1219, f"Not allowed: {error}.", param="cursor") from None


def _behind(row: Any, sort: Sort, now: int, digest: bytes) -> Cursor:
    return Cursor(now, sort.value(row), row.id, digest)


ENDPOINTS = (
    Endpoint(method="GET", path="/api/v1/traces", summary="Traces that match filters", handler=list_traces,
             query=TraceQuery, answer=Trace, form="list", permissions=("traces:read",)),
    Endpoint(method="POST", path="/api/v1/traces/search", summary="Traces that match a tree of filters",
             handler=search_traces, query=Page, body=Search, answer=Trace, form="list", permissions=("traces:read",)),
    Endpoint(method="GET", path="/api/v1/traces/{id}", summary="One trace, with its texts and feedback",
             handler=show_trace, answer=Trace, permissions=("traces:read",), errors=(1303,)),
)  # fmt: skip

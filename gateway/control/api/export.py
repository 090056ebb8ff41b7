"""Traces as a file of any length: read and sent page by page, the oldest first.

A file that broke off is gone on with behind the last row that arrived: its `id` is the cursor. What is sent then is
meant to be appended, so CSV has no line of names again. Parquet cannot be appended to: it is begun anew.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from aiohttp import web
from sqlalchemy import Connection, select

from gateway.control.api.call import Call
from gateway.control.api.endpoint import Endpoint
from gateway.control.api.traces import find_environment, find_texts, refuse_by
from gateway.control.query.condition import Condition, Every, Frame, Not, compare
from gateway.control.query.cursor import Cursor
from gateway.control.query.filters import Filters, to_condition
from gateway.control.query.page import Sort, find_rows
from gateway.control.query.sheet import COLUMNS, FORMATS, Sheet
from gateway.control.query.view import Trace, show
from gateway.control.tables import requests
from gateway.errors import GatewayError

_PAGE = 500  # rows read at once
_OLDEST_FIRST = Sort("ts", descending=False)
_TEXTS = {"input_text", "output_text"}


class ExportQuery(Filters, frozen=True, kw_only=True):
    """`fields` are the columns, in this order; `limit` is how many rows at most; `cursor` the id of the last row."""

    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None  # type: ignore[assignment]


class _Reader:
    """Pages of what was asked for, each read in its own transaction: a long export holds up nobody who writes."""

    def __init__(self, call: Call[ExportQuery, None], condition: Condition, columns: Sequence[str]) -> None:
        self._call = call
        self._scope = call.caller.scope()
        self._condition = condition
        self._texts = bool(_TEXTS & set(columns))
        self._left = call.query.limit
        self._after: Cursor | None = None
        self._environment = find_environment(call)

    async def begin(self) -> None:
        """Raises GatewayError 1219 for a cursor that is the id of no row."""
        id = self._call.query.cursor
        if id:
            mine = requests.c.id == id, self._scope.of(requests)
            query = select(requests.c.started).where(*mine)
            started = await self._call.read(lambda connection: connection.scalar(query))
            if started is None:
                raise GatewayError(1219, "The cursor is the id of no trace that is here.", param="cursor")
            self._after = Cursor(0, started, id, b"")

    async def next(self) -> list[Trace]:
        """Empty at the end."""
        if self._left == 0:
            return []
        size = _PAGE if self._left is None else min(self._left, _PAGE)
        rows = await self._call.read(partial(self._read, size=size))
        if self._left is not None:
            self._left -= len(rows)
        return rows

    def _read(self, connection: Connection, size: int) -> list[Trace]:
        rows, _ = find_rows(connection, self._scope, self._condition, _OLDEST_FIRST, self._after, size)
        if rows:
            self._after = Cursor(0, rows[-1].started, rows[-1].id, b"")
        texts = find_texts(connection, [row.id for row in rows]) if self._texts else {}
        return [show(row, self._environment, texts.get(row.id, (None, None))) for row in rows]


async def export_traces(call: Call[ExportQuery, None]) -> web.StreamResponse:
    """What is still open is left out: it would not be complete."""
    make, media = FORMATS.get(call.path["format"], (None, ""))
    if make is None:
        raise GatewayError(1303, f"There is no such format; there are {', '.join(FORMATS)}.")
    columns = _read_columns(call.query.fields)
    frame = Frame(call.clock(), find_environment(call))
    wanted = refuse_by(1219, partial(to_condition, call.query), frame)
    closed = Every((wanted, Not(compare("status", "eq", "pending", frame))))
    reader = _Reader(call, closed, columns)
    await reader.begin()
    sheet = make(columns)
    first = await reader.next()  # what fails at once is an error with a status
    response = web.StreamResponse(headers={
        "Content-Type": media, "Cache-Control": "private, no-store",
        "Content-Disposition": f'attachment; filename="traces.{call.path["format"]}"',
    })  # fmt: skip
    await response.prepare(call.request)
    try:
        await _send(response, sheet, reader, first, with_head=not call.query.cursor or media != "text/csv")
    except GatewayError:
        if call.request.transport is not None:
            call.request.transport.abort()  # what is not whole must not look as if it were
    return response


async def _send(
    response: web.StreamResponse, sheet: Sheet, reader: _Reader, page: list[Trace], with_head: bool
) -> None:
    head = sheet.head()
    await response.write(head if with_head else b"")
    while page:
        await response.write(await asyncio.to_thread(sheet.rows, page))
        page = await reader.next()
    await response.write(sheet.end())
    await response.write_eof()


def _read_columns(fields: str) -> Sequence[str]:
    columns = tuple(name.strip() for name in fields.split(",") if name.strip()) or COLUMNS
    for name in columns:
        if name not in COLUMNS:
            raise GatewayError(
                1219, f"There is no column {name[:64]!r}; there are {', '.join(COLUMNS)}.", param="fields"
            )
    return tuple(dict.fromkeys(columns))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(method="GET", path="/api/v1/export/{format}", summary="Traces as a file: csv, jsonl or parquet",
             handler=export_traces, query=ExportQuery, answer=Any, form="stream", permissions=("traces:read",),
             errors=(1303, 1905), media=tuple(media for _, media in FORMATS.values())),
)  # fmt: skip

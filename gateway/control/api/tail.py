"""Traces live: as server-sent events, or over a WebSocket; with the filters and the scope of lists.

An event is a `trace`, or a `gap`: so many requests went by unseen, because the reader was too slow or away for too
long; what they were can be listed. The id of an event is where to go on (`Last-Event-ID`, or the parameter `cursor`).
What was asked and answered is not sent along; a search for words in it works.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from sqlalchemy import Connection, select

from gateway.control.api.call import Call
from gateway.control.api.endpoint import Endpoint
from gateway.control.api.events import PULSE, Events
from gateway.control.api.selection import parse_fields
from gateway.control.api.selection import select as choose
from gateway.control.api.traces import find_environment, refuse_by
from gateway.control.query.condition import Condition, Frame, has_words
from gateway.control.query.filters import Filters, to_condition
from gateway.control.query.predicate import to_predicate
from gateway.control.query.sql import to_sql
from gateway.control.query.view import flatten, show
from gateway.control.tables import requests
from gateway.control.tail import Passed
from gateway.errors import GatewayError
from gateway.journal import Closed
from gateway.tasks import spawn

_MOST = 64  # readers of this process
_AT_ONCE = 500  # ids in one question to the store
_LONGEST = 4096  # bytes of a message from a client

_encode = msgspec.json.Encoder().encode


class TailQuery(Filters, frozen=True, kw_only=True):
    """`cursor` is the id of the last event that was seen, for those who cannot send Last-Event-ID."""

    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None  # type: ignore[assignment]


class Event(msgspec.Struct, frozen=True):
    """`data` is a trace; of a gap `{"missed": n}`, with null where it cannot be told how many."""

    event: Literal["trace", "gap"]
    id: str
    data: Any


async def tail_traces(call: Call[TailQuery, None]) -> web.StreamResponse:
    """Ends after `limit` traces, where one is given."""
    tail = call.house.tail
    if tail.readers >= _MOST:
        raise GatewayError(1504, f"{_MOST} readers follow the traces already.", details={"limit": _MOST})
    reader = _Reader(call)
    passing = tail.follow(call.query.cursor or call.request.headers.get("Last-Event-ID", ""), PULSE)
    send = _send_messages if call.request.headers.get("Upgrade", "").lower() == "websocket" else _send_events
    async with aclosing(passing), aclosing(reader.read(passing)) as found:
        return await send(call.request, found)


class _Reader:
    """What one reader gets of all that passes."""

    def __init__(self, call: Call[TailQuery, None]) -> None:
        query = call.query
        self._call = call
        self._scope = call.caller.scope()
        self._environment = find_environment(call)
        condition = refuse_by(1219, partial(to_condition, query), Frame(call.clock(), self._environment))
        self._by_words = condition if has_words(condition) else None
        self._holds = to_predicate(condition)
        try:
            self._fields = parse_fields(query.fields)
        except ValueError as error:
            raise GatewayError(1219, f"The query is not allowed: {error}.", param="fields") from None

    async def read(self, passing: AsyncIterator[Passed]) -> AsyncGenerator[Event | None, None]:
        """What to send; None where nothing was for a while, to say that the gateway is still there."""
        left, spoke = self._call.query.limit, -math.inf
        async for passed in passing:
            if passed.missed:
                yield Event("gap", passed.name(0), {"missed": passed.missed if passed.missed > 0 else None})
            for index in await self._choose(passed.requests):
                yield Event("trace", passed.name(index + 1), self._show(passed.requests[index]))
                spoke = time.monotonic()
                if left is not None and (left := left - 1) == 0:
                    return
            if time.monotonic() - spoke >= PULSE:
                yield None
                spoke = time.monotonic()

    async def _choose(self, passed: Sequence[Closed]) -> Sequence[int]:
        """Which of them the reader may see and wants to."""
        mine = [index for index, closed in enumerate(passed) if self._may_see(closed)]
        if self._by_words is None:
            return [index for index in mine if self._holds(flatten(passed[index]))]
        found: set[str] = set()
        for start in range(0, len(mine), _AT_ONCE):
            ids = [passed[index].opened.id for index in mine[start : start + _AT_ONCE]]
            found |= await self._call.read(partial(_find_words, ids, self._by_words))
        return [index for index in mine if passed[index].opened.id in found]

    def _may_see(self, closed: Closed) -> bool:
        return self._scope.holds(closed.opened.project, closed.opened.consumer)

    def _show(self, closed: Closed) -> Any:
        return choose(msgspec.to_builtins(show(flatten(closed), self._environment)), self._fields)


def _find_words(ids: Sequence[str], condition: Condition, connection: Connection) -> set[str]:
    query = select(requests.c.id).where(requests.c.id.in_(ids), to_sql(condition, connection.dialect.name))
    return set(connection.scalars(query))


async def _send_events(request: web.Request, found: AsyncIterator[Event | None]) -> web.StreamResponse:
    events = Events(request)
    await events.open()
    with suppress(ConnectionError):
        async for event in found:
            await (events.pulse() if event is None else events.tell(event.data, event.event, event.id))
        await events.response.write_eof()
    return events.response


async def _send_messages(request: web.Request, found: AsyncIterator[Event | None]) -> web.StreamResponse:
    """One JSON object a message: `event`, `id`, `data`. What the client says is not listened to."""
    socket = web.WebSocketResponse(heartbeat=PULSE, max_msg_size=_LONGEST)
    await socket.prepare(request)
    listening = spawn(_listen(socket), "tail")
    with suppress(ConnectionError):
        async for event in found:
            if event is not None:
                await socket.send_str(_encode(event).decode())
            elif socket.closed:
                break
    await socket.close()
    listening.cancel()
    return socket


async def _listen(socket: web.WebSocketResponse) -> None:
    """Pings and the end of the connection are seen by him who reads."""
    async for _ in socket:
        pass


ENDPOINTS = (
    Endpoint(method="GET", path="/api/v1/traces/tail", summary="Traces as they are stored (events or WebSocket)",
             handler=tail_traces, query=TailQuery, answer=Event, form="stream", permissions=("traces:read",),
             errors=(1504,)),
)  # fmt: skip

"""Comments in a stream whose model is not there yet, for routes that ask for them (`early_comments`).

Whoever hears nothing for a minute, a client or a proxy on the way, may give up on a model that takes two to load. The
first comment commits the status: whatever is refused from then on is said inside the stream, as one event. Clients
pass over lines that begin with a colon (WHATWG HTML, 9.2.6).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.exchange import Exchange, Reply
from gateway.relay.chain import run_response
from gateway.relay.route import Route

STREAM_LINES = "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"


def is_awaited(exchange: Exchange) -> bool:
    """Whether the client asked for a stream of text, which may begin before there is any of it."""
    dialect = exchange.dialect
    return exchange.stream and dialect is not None and dialect.is_text and exchange.request.head.upgrade is None


async def keep_company(
    exchange: Exchange, route: Route, coming: asyncio.Future[Any], find_state: Callable[[], Awaitable[str]]
) -> None:
    """Return when `coming` is done; until then say, each `early_comments` seconds, that it is still waited for.

    `find_state` is what is waited for in a word. Raises GatewayError where a `response` hook refuses, ClientGone.
    """
    request, began = exchange.request, time.monotonic()
    while not (await asyncio.wait((coming,), timeout=route.early_comments))[0]:
        if not request.started:
            await _begin(exchange, route)
        state = await find_state()
        if not (coming.done() or request.paused):
            request.write(b": %b %d s\n\n" % (state.encode(), time.monotonic() - began))


async def _begin(exchange: Exchange, route: Route) -> None:
    """The head of an answer that will be a stream; `response` hooks see this one and no other."""
    reply = exchange.reply = Reply(200, [(b"content-type", b"text/event-stream")])
    await run_response(route.chain, exchange)
    exchange.status = reply.status
    exchange.lines.append(STREAM_LINES)
    exchange.request.begin(reply.status, reply.headers, None, "".join(exchange.lines).encode("latin-1"))

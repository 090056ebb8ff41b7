"""Results of handlers as answers: the envelope of lists and things, ETags, chosen fields, errors."""

import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from gateway.control.api.call import Call, Found, Listed, Page
from gateway.control.api.paging import Meta, Pagination
from gateway.control.api.selection import parse_fields, select
from gateway.errors import GatewayError

_VERSION = "1.0"
_PRIVATE = {"Cache-Control": "private, no-cache"}
_encode = msgspec.json.Encoder().encode


def render(call: Call[Any, Any], result: Listed | Found, began: float) -> web.Response:
    """The answer; 304 without a body where the client has it already. `began` is monotonic seconds.

    The ETag is strong and made of the data; `meta`, which tells of the answer, does not count. Raises GatewayError
    1219.
    """
    data = select_data(call, result)
    content: dict[str, Any] = {"status": "success", "data": data}
    if isinstance(result, Listed):
        limit = call.query.limit if isinstance(call.query, Page) else len(result.rows)
        content["pagination"] = Pagination(result.cursor, result.has_more, limit)
    status = result.status if isinstance(result, Found) else 200
    headers = {**_PRIVATE, **result.headers}
    if call.request.method in ("GET", "HEAD") and status == 200:
        headers["ETag"] = tag = f'"{hashlib.blake2b(_encode(content), digest_size=16).hexdigest()}"'
        if _is_known(call.request, tag):
            return web.Response(status=304, headers=headers)
    content["meta"] = _describe(call.caller.request_id, began)
    return web.Response(status=status, body=_encode(content), content_type="application/json", headers=headers)


def select_data(call: Call[Any, Any], result: Listed | Found) -> Any:
    """The data as plain values, with the fields that were asked for alone."""
    data = list(result.rows) if isinstance(result, Listed) else result.data
    if not call.query.fields:
        return data
    try:
        tree = parse_fields(call.query.fields)
    except ValueError as error:
        raise GatewayError(1219, f"The query is not allowed: {error}.", param="fields") from None
    return select(msgspec.to_builtins(data), tree)


def render_error(error: GatewayError, request_id: str, header: str = "X-Tollkeeper-Error") -> web.Response:
    """`header` is where the error's number stands."""
    headers: Mapping[str, str] = {**error.headers, header: str(error.number), "Cache-Control": "no-store"}
    body = error.body(request_id)
    return web.Response(status=error.status, body=body, content_type="application/json", headers=headers)


def _describe(request_id: str, began: float) -> Meta:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Meta(stamp, round((time.monotonic() - began) * 1000), False, _VERSION, request_id)


def _is_known(request: web.Request, tag: str) -> bool:
    """If-None-Match compares weakly (RFC 9110, 13.1.2)."""
    known = request.headers.get("If-None-Match", "")
    return known.strip() == "*" or any(one.strip().removeprefix("W/") == tag for one in known.split(","))

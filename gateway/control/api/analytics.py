"""Analytics: many requests in a few figures, read from the roll-ups. Freshness: some seconds, kept for a minute."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec

from gateway.control.analytics.analysis import Analysis, analyse
from gateway.control.analytics.figures import (
    COSTS,
    MODELS,
    PERFORMANCE,
    QUALITY,
    USAGE,
    Comparison,
    Costs,
    Kind,
    Performance,
    Quality,
    Usage,
)  # fmt: skip
from gateway.control.analytics.measures import DIMENSIONS
from gateway.control.analytics.question import Question, TooMany
from gateway.control.analytics.window import Bucket, find_previous, plan_window
from gateway.control.api.call import Call, Found, Query
from gateway.control.api.endpoint import Endpoint
from gateway.control.api.scope import Scope
from gateway.control.query.moment import parse_moment
from gateway.errors import GatewayError

HEADERS = {"Cache-Control": "private, max-age=60"}
BUCKETS = ("hour", "day", "week", "month")

_BY = tuple(name for name in DIMENSIONS if name != "period")
Name = Annotated[str, msgspec.Meta(max_length=255)]


class AnalyticsQuery(Query, frozen=True, kw_only=True):
    """`from` and `to` are times, or how long ago: 24h, 7d. `group_by` names dimensions, and one of hour, day, week and
    month: `model,day`. `compare=previous` adds the figures of the time before. The `top` largest groups are told.
    The other parameters choose requests; `calls=all` counts those too that asked no model.
    """

    begin: Annotated[str, msgspec.Meta(max_length=40)] = msgspec.field(name="from", default="7d")
    end: Annotated[str, msgspec.Meta(max_length=40)] = msgspec.field(name="to", default="")
    group_by: Annotated[str, msgspec.Meta(max_length=200)] = ""
    bucket: Literal["", "hour", "day", "week", "month"] = ""
    compare: Literal["", "previous"] = ""
    top: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    calls: Literal["models", "all"] = "models"
    consumer: Name = ""
    project: Name = ""
    tier: Name = ""
    route: Name = ""
    model: Name = ""
    provider: Name = ""
    operation: Name = ""


class CompareQuery(AnalyticsQuery, frozen=True, kw_only=True):
    """`models` names those that are compared: `a,b`; none: all."""

    models: Annotated[str, msgspec.Meta(max_length=1000)] = ""


def _serve(kind: Kind, default: str = "") -> Callable[[Call[AnalyticsQuery, None]], Awaitable[Found]]:
    """A handler that tells figures of a kind; `default` is what they are grouped by unless the caller says it."""

    async def tell(call: Call[AnalyticsQuery, None]) -> Found:
        return Found(await _analyse(call, kind, call.query.group_by or default, call.caller.scope()), headers=HEADERS)

    return tell


async def _tell_usage(call: Call[AnalyticsQuery, None]) -> Found:
    """Everybody may know what he used himself."""
    return Found(await _analyse(call, USAGE, call.query.group_by, usage_scope(call)), headers=HEADERS)


def usage_scope(call: Call[Any, Any]) -> Scope:
    """Of others' usage, who may read it sees what is in his scope."""
    return call.caller.scope() if call.caller.may("usage:read") else Scope(consumer=call.caller.consumer)


async def _analyse(call: Call[AnalyticsQuery, None], kind: Kind, group_by: str, scope: Scope) -> Analysis[Any]:
    query, now = call.query, call.clock()
    by, bucket = _read_groups(group_by, query.bucket)
    try:
        begin, end = (parse_moment(text, now) if text else now for text in (query.begin, query.end))
        window = plan_window(begin, end, bucket, now)
        previous = find_previous(window, bucket, now) if query.compare else None
    except (ValueError, OverflowError) as error:
        raise GatewayError(1219, f"The query is not allowed: {error}.", param="from") from None
    only: dict[str, Any] = {name: value for name in _BY if (value := getattr(query, name))}
    if isinstance(query, CompareQuery) and query.models:
        only["model"] = tuple(query.models.split(","))
    question = Question(scope=scope, by=by, bucket=bucket, only=only, is_whole=query.calls == "all")
    try:
        return await call.read(lambda connection: analyse(connection, kind, question, window, previous, query.top))
    except TooMany as error:
        raise GatewayError(1219, f"The query is not allowed: {error}.", param="group_by") from None


def _read_groups(group_by: str, bucket: str) -> tuple[tuple[str, ...], Bucket | None]:
    """Dimensions and the bucket among the names. Raises GatewayError 1219."""
    names = [name.strip() for name in group_by.split(",") if name.strip()]
    buckets = {name for name in (*names, bucket) if name in BUCKETS}
    by = tuple(dict.fromkeys(name for name in names if name not in BUCKETS))
    if unknown := next((name for name in by if name not in _BY), None):
        text = f"The query is not allowed: nothing is grouped by {unknown!r}; there are {', '.join((*_BY, *BUCKETS))}."
        raise GatewayError(1219, text, param="group_by")
    if len(buckets) > 1:
        raise GatewayError(1219, "The query is not allowed: one of hour, day, week, month at a time.", param="group_by")
    return by, buckets.pop() if buckets else None  # type: ignore[return-value]


def _endpoint(path: str, summary: str, handler: Any, answer: Any, permission: str = "traces:read") -> Endpoint:
    return Endpoint(
        method="GET", path=path, summary=summary, handler=handler, answer=Analysis[answer], query=AnalyticsQuery,
        permissions=(permission,) if permission else (), errors=(1219, 1605),
    )  # fmt: skip


_performance, _quality, _models = _serve(PERFORMANCE), _serve(QUALITY), _serve(MODELS, "model")
_COMPARE = "Models side by side: speed, errors, cost, feedback"

ENDPOINTS = (
    _endpoint("/api/v1/analytics/costs", "Cost in USD, by group", _serve(COSTS), Costs, "costs:read"),
    _endpoint("/api/v1/analytics/performance", "Latency, throughput and errors", _performance, Performance),
    _endpoint("/api/v1/metrics/performance", "Latency, throughput and errors", _performance, Performance),
    _endpoint("/api/v1/analytics/quality", "How requests ended, and feedback", _quality, Quality),
    _endpoint("/api/v1/metrics/quality", "How requests ended, and feedback", _quality, Quality),
    msgspec.structs.replace(_endpoint("/api/v1/analytics/models", _COMPARE, _models, Comparison), query=CompareQuery),
    msgspec.structs.replace(_endpoint("/api/v1/models/compare", _COMPARE, _models, Comparison), query=CompareQuery),
    _endpoint("/api/v1/analytics/usage", "Requests, units, tokens and money", _tell_usage, Usage, ""),
)

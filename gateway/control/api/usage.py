"""The usage report of a month, as JSON or CSV: what each consumer is billed from."""

from typing import Literal

import msgspec
from aiohttp import web

from gateway.control.analytics.month import read_month
from gateway.control.analytics.question import TooMany
from gateway.control.analytics.report import Report, parse_month, write_csv
from gateway.control.api.analytics import HEADERS, Name, usage_scope
from gateway.control.api.call import Call, Found, Query, Result
from gateway.control.api.endpoint import Endpoint
from gateway.errors import GatewayError


class UsageQuery(Query, frozen=True, kw_only=True):
    """One consumer's report, or everybody's whose usage one may read. `fields` do not count in CSV."""

    consumer: Name = ""
    format: Literal["json", "csv"] = "json"


async def report_usage(call: Call[UsageQuery, None]) -> Result:
    scope, consumer = usage_scope(call), call.query.consumer
    try:
        month = parse_month(call.path["period"])
    except ValueError as error:
        raise GatewayError(1219, f"The address is not allowed: {error}.", param="period") from None
    try:
        report = await call.read(lambda connection: read_month(connection, scope, month, consumer))
    except TooMany as error:
        raise GatewayError(1219, f"The query is not allowed: {error}.", param="consumer") from None
    if call.query.format == "json":
        return Found(report, headers=HEADERS)
    text = write_csv([msgspec.structs.asdict(line) for line in report.lines])
    named = {"Content-Disposition": f'attachment; filename="usage-{month.name}.csv"'}
    return web.Response(text=text, content_type="text/csv", charset="utf-8", headers={**HEADERS, **named})


ENDPOINTS = (
    Endpoint(
        method="GET", path="/api/v1/usage/{period}", summary="A month's usage, priced, by consumer and model",
        handler=report_usage, query=UsageQuery, answer=Report, media=("text/csv",), errors=(1219, 1605),
    ),
)  # fmt: skip

"""A collector: takes OTLP over HTTP, decodes it, and can be told to refuse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue


class Receiver:
    """What it took. `statuses` are answered first, one after the other; `rejected` is told as a partial success."""

    def __init__(self) -> None:
        self.url = ""
        self.traces: list[Any] = []  # requests, decoded
        self.metrics: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: list[int] = []
        self.rejected = 0
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        await self.gate.wait()
        body = await request.read()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.statuses:
            return web.Response(status=self.statuses.pop(0), headers={"Retry-After": "0"})
        if request.path == "/base/v1/traces":
            self.traces.append(ExportTraceServiceRequest.FromString(body))
            answer: Any = ExportTraceServiceResponse()
            answer.partial_success.rejected_spans = self.rejected
        else:
            assert request.path == "/base/v1/metrics"
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))
            answer = ExportMetricsServiceResponse()
        return web.Response(body=answer.SerializeToString(), content_type="application/x-protobuf")


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/base"
    try:
        yield receiver
    finally:
        receiver.gate.set()
        await runner.cleanup()


def attributes(found: list[KeyValue]) -> dict[str, Any]:
    """Attributes as plain values."""
    plain: dict[str, Any] = {}
    for pair in found:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        plain[pair.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return plain

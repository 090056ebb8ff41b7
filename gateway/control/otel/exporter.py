"""Rows on their way to a collector, over OTLP/HTTP (protobuf), in the background.

A collector that is slow or away costs nobody anything: what waits is bounded, newer rows are dropped then, and
counted. Each row is told at most once: what waits when the process dies is not told.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

import aiohttp
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics, ScopeMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from gateway.control.otel.attributes import SCOPE, describe_resource
from gateway.control.otel.measures import Measures
from gateway.control.otel.spans import make_spans
from gateway.control.outbound import check_url, open_session
from gateway.journal import Closed
from gateway.metrics import Board
from gateway.settings.schema import Config
from gateway.settings.site import Otel

_MOST = 20_000  # rows that wait
_BATCH = 500  # rows told at once
_PAUSE = 1.0  # seconds between two looks at what waits
_INTERVAL = 15.0  # seconds between two reports of metrics
_PATIENCE = 10.0  # seconds for one try
_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each further try
_LONGEST = 60.0  # seconds that a collector may ask us to wait
_LAST_WORDS = 3.0  # seconds for what waits when the process ends
_AGAIN = frozenset((429, 502, 503, 504))  # OTLP/HTTP, "Retryable Response Codes"

_log = logging.getLogger("tollkeeper.control")


class _Busy(Exception):
    """The collector, or the way to it, may do better later; `wait` is seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class Exporter:
    """Tells rows as `otel` of the configuration wants it, which may change. `clock` is unix microseconds."""

    def __init__(self, wanted: Callable[[], Config], board: Board, clock: Callable[[], int], instance: str) -> None:
        self._wanted = wanted
        self._board = board
        self._clock = clock
        self._instance = instance
        self._waiting: deque[Closed] = deque()
        self._measures = Measures(clock())
        self._reported = asyncio.get_running_loop().time()

    def take(self, requests: list[Closed]) -> None:
        """Rows that were stored. To be called on the loop's thread."""
        otel = self._wanted().otel
        if otel is None:
            return
        if otel.metrics:
            for closed in requests:
                self._measures.add(closed)
        if otel.traces:
            room = max(0, _MOST - len(self._waiting))
            self._waiting.extend(requests[:room])
            self._count("dropped", len(requests) - room)

    async def run(self) -> None:
        """Until it is cancelled; then what waits is told, as far as it can be in a few seconds."""
        async with open_session(_PATIENCE, allow_private=True) as session:
            try:
                while True:
                    await asyncio.sleep(_PAUSE)
                    await self._report(session, is_last=False)
            finally:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WORDS):
                        await self._report(session, is_last=True)

    async def _report(self, session: aiohttp.ClientSession, is_last: bool) -> None:
        while (otel := self._wanted().otel) is not None and self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                answer = await self._tell(session, otel, "traces", await asyncio.to_thread(self._write_traces, batch))
            except BaseException:
                self._count("dropped", len(batch))
                raise
            rejected = len(batch) if answer is None else min(_read_rejected(answer), len(batch))
            self._count("dropped", rejected)
            self._count("sent", len(batch) - rejected)
        now = asyncio.get_running_loop().time()
        if otel is not None and otel.metrics and (is_last or now - self._reported >= _INTERVAL):
            self._reported = now
            await self._tell(session, otel, "metrics", self._write_metrics())

    async def _tell(self, session: aiohttp.ClientSession, otel: Otel, what: str, message: Message) -> bytes | None:
        """The collector's answer, None where it takes nothing however often it is tried."""
        data = message.SerializeToString()
        for pause in (*_PAUSES, None):
            try:
                return await _post(session, otel, what, data)
            except _Busy as busy:
                if pause is None:
                    _log.error("otel: %s are given up after %d tries: %s", what, len(_PAUSES) + 1, busy)
                    return None
                await asyncio.sleep(max(pause, busy.wait))
            except OSError as error:
                _log.error("otel: %s are not taken: %s", what, error)
                return None
        return None

    def _write_traces(self, batch: list[Closed]) -> ExportTraceServiceRequest:
        spans = [span for closed in batch for span in make_spans(closed)]
        resource = describe_resource(self._wanted().trace.environment, self._instance)
        scoped = ScopeSpans(scope=SCOPE, spans=spans)
        return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[scoped])])

    def _write_metrics(self) -> ExportMetricsServiceRequest:
        resource = describe_resource(self._wanted().trace.environment, self._instance)
        scoped = ScopeMetrics(scope=SCOPE, metrics=self._measures.tell(self._clock()))
        return ExportMetricsServiceRequest(
            resource_metrics=[ResourceMetrics(resource=resource, scope_metrics=[scoped])]
        )

    def _count(self, result: str, rows: int) -> None:
        if rows > 0:
            self._board.add(self._board.index("otel_traces_total", result), rows)


async def _post(session: aiohttp.ClientSession, otel: Otel, what: str, data: bytes) -> bytes:
    """One try. Raises _Busy, or OSError where there is no use in another one."""
    url = f"{otel.endpoint.rstrip('/')}/v1/{what}"
    check_url(url, allow_private=True)
    headers = {**otel.headers, "Content-Type": "application/x-protobuf"}
    try:
        async with session.post(url, data=data, headers=headers, allow_redirects=False) as answer:
            if answer.status in _AGAIN:
                asked = answer.headers.get("Retry-After", "")
                raise _Busy(f"{url} answers {answer.status}", min(_LONGEST, float(asked) if asked.isdigit() else 0.0))
            if not 200 <= answer.status < 300:
                raise OSError(f"{url} answers {answer.status}")
            return await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _Busy(f"{url}: {error or type(error).__name__}") from None


def _read_rejected(answer: bytes) -> int:
    """How many spans a collector refused, of those that it was told; what it calls so is at least one row."""
    try:
        return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
    except DecodeError:
        return 0

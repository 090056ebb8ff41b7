"""The exporter against a collector that decodes what it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from gateway.control.otel import exporter
from gateway.control.otel.exporter import Exporter
from gateway.journal import Closed
from gateway.metrics import Board, Reader, make_board_file
from gateway.settings.schema import Config, Otel, Trace
from tests.gateway.control.otel.receiver import Receiver, attributes, receiving
from tests.gateway.control.records import closed, opened
from tests.gateway.http.peers import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "_PAUSE", 0.01)
    monkeypatch.setattr(exporter, "_PAUSES", (0.01, 0.02))
    monkeypatch.setattr(exporter, "_INTERVAL", 0.05)
    monkeypatch.setattr(exporter, "_LAST_WORDS", 60.0)  # a busy machine takes its time


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


class Counts:
    def __init__(self) -> None:
        file = make_board_file()
        self.board, self.reader = Board(file), Reader(file)

    def __call__(self, result: str) -> float:
        return sum(self.reader.read().get(("otel_traces_total", result), ()))


@pytest.fixture
def counts() -> Iterator[Counts]:
    made = Counts()
    yield made
    made.reader.close()


Start = Callable[..., Any]


@asynccontextmanager
async def exporting(url: str, counts: Counts, **settings: Any) -> AsyncIterator[Exporter]:
    config = Config(otel=Otel(endpoint=url, **settings), trace=Trace(environment="staging"))
    made = Exporter(lambda: config, counts.board, lambda: 1_000_000, "here")
    task = asyncio.get_running_loop().create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def rows(count: int, first: int = 0) -> list[Closed]:
    return [closed(opened(f"{number:032x}", operation="chat")) for number in range(first, first + count)]


def told(receiver: Receiver) -> list[int]:
    return sorted(int(span.trace_id.hex(), 16) for span in receiver.spans)


async def test_rows_arrive_as_spans(receiver: Receiver, counts: Counts) -> None:
    async with exporting(receiver.url, counts, headers={"api-key": "secret"}) as made:
        made.take(rows(1200))
        await eventually(lambda: counts("sent") == 1200)
    assert told(receiver) == [*range(1200)]
    assert len(receiver.traces) == 3, "at most 500 at once"
    resource = attributes(receiver.traces[0].resource_spans[0].resource.attributes)
    assert resource["service.name"] == "tollkeeper" and resource["service.instance.id"] == "here"
    assert resource["deployment.environment.name"] == "staging"
    assert {headers["api-key"] for headers in receiver.headers} == {"secret"}
    assert {headers["content-type"] for headers in receiver.headers} == {"application/x-protobuf"}


async def test_metrics_arrive_again_and_again(receiver: Receiver, counts: Counts) -> None:
    async with exporting(receiver.url, counts, traces=False) as made:
        made.take(rows(3))
        await eventually(lambda: len(receiver.metrics) >= 2)
    (metric, *_) = receiver.metrics[-1].resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "gen_ai.server.request.duration" and metric.histogram.data_points[0].count == 3
    assert receiver.traces == []


async def test_what_is_busy_is_asked_again(receiver: Receiver, counts: Counts) -> None:
    receiver.statuses = [503, 429]
    async with exporting(receiver.url, counts, metrics=False) as made:
        made.take(rows(2))
        await eventually(lambda: counts("sent") == 2)
    assert (told(receiver), receiver.asked, counts("dropped")) == ([0, 1], 3, 0)


@pytest.mark.parametrize(("statuses", "asked"), [([400], 1), ([401], 1), ([302], 1), ([503, 503, 503], 3)])
async def test_what_is_not_taken_is_counted(
    receiver: Receiver, counts: Counts, statuses: list[int], asked: int
) -> None:
    receiver.statuses = statuses
    async with exporting(receiver.url, counts, metrics=False) as made:
        made.take(rows(2))
        await eventually(lambda: counts("dropped") == 2)
        assert receiver.asked == asked
        made.take(rows(1, 2))
        await eventually(lambda: counts("sent") == 1)
    assert told(receiver) == [2]


async def test_a_collector_that_is_away(counts: Counts) -> None:
    async with exporting("http://127.0.0.1:1", counts) as made:
        made.take(rows(2))
        await eventually(lambda: counts("dropped") == 2)


async def test_spans_that_a_collector_rejects_are_counted(receiver: Receiver, counts: Counts) -> None:
    receiver.rejected = 1
    async with exporting(receiver.url, counts) as made:
        made.take(rows(3))
        await eventually(lambda: counts("sent") == 2 and counts("dropped") == 1)


async def test_what_waits_is_bounded(receiver: Receiver, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "_MOST", 100)
    receiver.gate.clear()
    async with exporting(receiver.url, counts, metrics=False) as made:
        made.take(rows(10))
        await eventually(lambda: receiver.asked == 1)
        made.take(rows(150, 10))
        assert counts("dropped") == 50
        receiver.gate.set()
        await eventually(lambda: counts("sent") == 110)
    assert told(receiver) == [*range(110)]


async def test_the_last_rows_are_told_at_the_end(
    receiver: Receiver, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_PAUSE", 60.0)
    async with exporting(receiver.url, counts) as made:
        await asyncio.sleep(0.05)
        made.take(rows(2))
    assert told(receiver) == [0, 1] and len(receiver.metrics) == 1


async def test_nothing_is_taken_once_the_file_does_not_want_it(receiver: Receiver, counts: Counts) -> None:
    config = Config(otel=Otel(endpoint=receiver.url))
    made = Exporter(lambda: config, counts.board, lambda: 1, "here")
    config = msgspec.structs.replace(config, otel=None)
    made.take(rows(1))
    assert not made._waiting

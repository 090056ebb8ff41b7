from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.control.otel.measures import Measures
from gateway.control.otel.spans import make_spans
from gateway.journal import Closed
from tests.gateway.control.otel.receiver import attributes
from tests.gateway.control.records import closed, opened

ID = "0" * 12 + "5" * 4 + "89abcdef01234567"
TRACE = {"trace": "12345678901234567890123456789012", "span": ID[-16:], "parent": "1234567890123456"}


def row(**changes: Any) -> Closed:
    """A stream that waited 10 ms in a queue and 20 ms for its engine, and came after 50 ms."""
    of_opened = {
        "endpoint": "http://10.0.0.5:8000/v1", "operation": "chat", "provider": "vllm", "stream": True,
        "model_asked": "gpt", "model": "qwen", "session": "s", "user": "u", "tags": "a,b", "route": "/v1/*", **TRACE,
    }  # fmt: skip
    of_closed = {
        "queue_us": 10_000, "load_us": 20_000, "connect_us": 1000, "first_token_us": 50_000, "decode_us": 100_000,
        "total_us": 151_000, "finish": "stop", "cost_nano": 2_000_000, "tokens_in": 7, "tokens_out": 11,
    }  # fmt: skip
    names = Closed.__struct_fields__
    of_closed |= {name: value for name, value in changes.items() if name in names}
    of_opened |= {name: value for name, value in changes.items() if name not in names}
    made = closed(opened(ID, **of_opened), **of_closed)
    made.finished = made.opened.started + made.total_us
    return made


def test_a_call_of_a_model() -> None:
    outer, queue, load, call = make_spans(row())
    start = row().opened.started * 1000
    assert {span.trace_id.hex() for span in (outer, queue, load, call)} == {TRACE["trace"]}
    assert call.span_id.hex() == TRACE["span"], "what the model server was told"
    assert outer.parent_span_id.hex() == TRACE["parent"]
    assert queue.parent_span_id == load.parent_span_id == call.parent_span_id == outer.span_id
    assert len({span.span_id for span in (outer, queue, load, call)}) == 4
    kinds = [Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_CLIENT]
    assert [span.kind for span in (outer, queue, load, call)] == kinds
    assert [span.name for span in (outer, queue, load, call)] == ["POST /v1/*", "queue", "load", "chat qwen"]
    times = [(span.start_time_unix_nano - start, span.end_time_unix_nano - start) for span in make_spans(row())]
    assert times == [(0, 151_000_000), (0, 10_000_000), (10_000_000, 30_000_000), (30_000_000, 150_000_000)]
    assert [(event.name, event.time_unix_nano - start) for event in call.events] == [("first_token", 50_000_000)]
    assert outer.status.code == call.status.code == Status.STATUS_CODE_UNSET


def test_what_spans_tell() -> None:
    outer, _, _, call = make_spans(row())
    told = attributes(outer.attributes)
    assert told["http.request.method"] == "POST" and told["http.response.status_code"] == 200
    assert (told["tollkeeper.consumer"], told["session.id"], told["enduser.id"]) == ("acme", "s", "u")
    assert told["tollkeeper.tags"] == ["a", "b"] and told["tollkeeper.id"] == ID
    assert "error.type" not in told and "tollkeeper.rule" not in told
    told = attributes(call.attributes)
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "vllm")
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("gpt", "qwen")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (7, 11)
    assert told["gen_ai.response.finish_reasons"] == ["stop"] and told["gen_ai.conversation.id"] == "s"
    assert told["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.02)
    assert (told["server.address"], told["server.port"]) == ("10.0.0.5", 8000)
    assert told["tollkeeper.cost_usd"] == pytest.approx(0.002)


def test_a_request_that_asked_no_server_is_one_span() -> None:
    (span,) = make_spans(row(endpoint="", queue_us=0, load_us=0, status=429, error=1501, outcome="refused"))
    assert span.span_id.hex() == TRACE["span"] and span.kind == Span.SPAN_KIND_SERVER
    assert attributes(span.attributes)["error.type"] == "rate_limit_exceeded"
    assert span.status.code == Status.STATUS_CODE_UNSET, "what a client did wrong is no error of the server"


@pytest.mark.parametrize(("status", "error"), [(502, 1702), (200, 1705), (503, 1901)])
def test_failures(status: int, error: int) -> None:
    for span in (make_spans(row(status=status, error=error))[at] for at in (0, -1)):
        assert span.status.code == Status.STATUS_CODE_ERROR and span.status.message


def test_where_the_gateway_takes_no_part_in_traces_each_is_its_own() -> None:
    spans = make_spans(row(trace="", span="", parent=""))
    assert {span.trace_id.hex() for span in spans} == {ID}
    assert spans[-1].span_id.hex() == ID[-16:] and spans[0].parent_span_id == b""


def test_a_call_that_is_none_of_a_model() -> None:
    call = make_spans(row(operation="", model="", model_asked=""))[-1]
    assert call.name == "POST" and not any(name.startswith("gen_ai") for name in attributes(call.attributes))


def test_measures() -> None:
    measures = Measures(1)
    for _ in range(3):
        measures.add(row())
    measures.add(row(operation=""))
    measures.add(row(stream=False, tokens_source="none", status=502, error=1702))
    told = {metric.name: metric for metric in measures.tell(2_000_000)}
    assert sorted(told) == [
        "gen_ai.client.token.usage", "gen_ai.server.request.duration", "gen_ai.server.time_per_output_token",
        "gen_ai.server.time_to_first_token",
    ]  # fmt: skip
    good, bad = told["gen_ai.server.request.duration"].histogram.data_points
    assert (good.count, good.sum) == (3, pytest.approx(3 * 0.151)) and sum(good.bucket_counts) == 3
    assert len(good.bucket_counts) == len(good.explicit_bounds) + 1
    assert good.bucket_counts[4] == 3, "0.08 < 0.151 <= 0.16"
    assert attributes(bad.attributes)["error.type"] == "upstream_reset"
    assert (good.start_time_unix_nano, good.time_unix_nano) == (1000, 2_000_000_000)
    usage = told["gen_ai.client.token.usage"].histogram.data_points
    sums = {attributes(point.attributes)["gen_ai.token.type"]: point.sum for point in usage}
    assert sums == {"input": 21, "output": 33}
    (each,) = told["gen_ai.server.time_per_output_token"].histogram.data_points
    assert each.sum == pytest.approx(3 * 0.01)


def test_names_that_clients_make_up_make_no_more_than_a_thousand_series() -> None:
    measures = Measures(1)
    for number in range(1200):
        measures.add(row(model=f"m-{number}"))
    duration = measures.tell(2)[0].histogram.data_points
    assert len(duration) == 1001
    (rest,) = [point for point in duration if attributes(point.attributes) == {"otel.metric.overflow": True}]
    assert rest.count == 200

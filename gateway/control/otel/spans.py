"""One row as spans. Pure.

    SERVER  POST /v1/chat/completions      the client's request, from its head to the last byte of the answer
      INTERNAL  queue, load                waiting for a slot, for the engine; where there was any
      CLIENT    chat gpt-4o-mini           the call of the model server, if one was asked

The model server was told the CLIENT span as its parent (`traceparent`), so that its own spans hang below it. Where no
server was asked, the row's span is the SERVER one.
"""

from hashlib import blake2b

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.control.otel.attributes import (
    Value,
    describe_model,
    describe_server,
    encode_attributes,
    name_error,
    name_operation,
)
from gateway.journal import Closed

_SAMPLED = 1  # the flag of W3C Trace Context; a row is always recorded


def make_spans(closed: Closed) -> list[Span]:
    """The spans of one request, the outermost first."""
    opened = closed.opened
    trace = bytes.fromhex(opened.trace or opened.id)  # where the gateway takes no part in traces, each is its own
    own = bytes.fromhex(opened.span or opened.id[-16:])
    outer = _derive(opened.id, "server") if opened.endpoint else own
    spans = [
        Span(
            trace_id=trace, span_id=outer, parent_span_id=bytes.fromhex(opened.parent), flags=_SAMPLED,
            name=f"{opened.method} {opened.route}".strip(), kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=opened.started * 1000, end_time_unix_nano=closed.finished * 1000,
            attributes=encode_attributes(_of_request(closed)), status=_judge(closed),
        )
    ]  # fmt: skip
    at = opened.started
    for name, lasted in (("queue", closed.queue_us), ("load", closed.load_us)):
        if lasted:
            spans.append(
                Span(
                    trace_id=trace, span_id=_derive(opened.id, name), parent_span_id=outer, flags=_SAMPLED, name=name,
                    kind=Span.SPAN_KIND_INTERNAL, start_time_unix_nano=at * 1000,
                    end_time_unix_nano=(at + lasted) * 1000,
                )
            )  # fmt: skip
            at += lasted
    if opened.endpoint:
        spans.append(_make_call(closed, at, trace, own, outer))
    return spans


def _make_call(closed: Closed, at: int, trace: bytes, own: bytes, outer: bytes) -> Span:
    """The call of the model server; `at` is when it could begin, in unix microseconds."""
    opened, first = closed.opened, closed.first_token_us
    end = opened.started + first + closed.decode_us if first else closed.finished
    name = f"{name_operation(closed)} {opened.model}" if opened.operation else opened.method
    happened = [Span.Event(name="first_token", time_unix_nano=(opened.started + first) * 1000)] if first else []
    return Span(
        trace_id=trace, span_id=own, parent_span_id=outer, flags=_SAMPLED, name=name, kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=at * 1000, end_time_unix_nano=max(at, end) * 1000, events=happened,
        attributes=encode_attributes(_of_call(closed)), status=_judge(closed),
    )  # fmt: skip


def _of_request(closed: Closed) -> dict[str, Value | None]:
    opened = closed.opened
    return {
        "http.request.method": opened.method, "http.route": opened.route, "url.path": opened.path,
        "http.response.status_code": closed.status, "client.address": opened.peer, "error.type": name_error(closed),
        "session.id": opened.session, "enduser.id": opened.user,
        "tollkeeper.id": opened.id, "tollkeeper.request_id": opened.request_id, "tollkeeper.outcome": closed.outcome,
        "tollkeeper.error": closed.error, "tollkeeper.rule": closed.rule, "tollkeeper.cancel": closed.cancel,
        "tollkeeper.cache": closed.cache, "tollkeeper.consumer": opened.consumer, "tollkeeper.project": opened.project,
        "tollkeeper.tier": opened.tier, "tollkeeper.role": opened.role, "tollkeeper.credential": opened.credential,
        "tollkeeper.tags": opened.tags.split(",") if opened.tags else None, "tollkeeper.units": closed.units / 1000,
        "tollkeeper.overhead_seconds": closed.overhead_us / 1e6, "tollkeeper.generation": opened.generation,
    }  # fmt: skip


def _of_call(closed: Closed) -> dict[str, Value | None]:
    opened = closed.opened
    first = closed.first_token_us - closed.queue_us - closed.load_us
    found: dict[str, Value | None] = {
        "gen_ai.request.stream": opened.stream, "gen_ai.conversation.id": opened.session,
        "gen_ai.response.finish_reasons": [closed.finish] if closed.finish else None,
        "gen_ai.response.time_to_first_chunk": first / 1e6 if opened.stream and first > 0 else None,
        "gen_ai.usage.input_tokens": closed.tokens_in, "gen_ai.usage.output_tokens": closed.tokens_out,
        "gen_ai.usage.cache_read.input_tokens": closed.tokens_cached,
        "tollkeeper.tokens_source": closed.tokens_source,
        "tollkeeper.cost_usd": closed.cost_nano / 1e9 if closed.cost_nano else None,
    }  # fmt: skip
    return {
        **(describe_model(closed) | found if opened.operation else {"error.type": name_error(closed)}),
        **describe_server(opened.endpoint),
        "http.response.status_code": closed.upstream_status,
        "tollkeeper.backend": opened.backend, "tollkeeper.load": opened.load, "tollkeeper.retries": closed.retries,
        "tollkeeper.connect_seconds": closed.connect_us / 1e6,
    }  # fmt: skip


def _judge(closed: Closed) -> Status:
    """What a client did wrong is no error of the server; what broke after the first byte is, whatever the status."""
    if closed.status >= 500 or closed.error >= 1600:
        return Status(code=Status.STATUS_CODE_ERROR, message=name_error(closed))
    return Status()


def _derive(id: str, part: str) -> bytes:
    """A span's id that is the same whenever it is worked out."""
    return blake2b(f"{id} {part}".encode(), digest_size=8).digest()

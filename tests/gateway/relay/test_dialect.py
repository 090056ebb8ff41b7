import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.relay.dialect import EventStream, ask_for_usage, count_tokens, error_event
from gateway.wire import Usage, parse_object

MARK = b"data: [DONE]"


def chunk(text: str = "hi", finish: str | None = None, **more: Any) -> bytes:
    return b"data: " + json.dumps(
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more},
        ensure_ascii=False, separators=(",", ":"),
    ).encode()  # fmt: skip


FINISH = chunk("", "stop")
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
EVENTS = [chunk(), chunk("größe 名 😀"), chunk("[DONE]"), chunk('"usage":{'), FINISH, b": ping", b"event: x\nid: 7",
          b'data: {"choices":[],"error":null}', b"data: not json", b"retry: 10\ndata: {}"]  # fmt: skip

events = st.lists(st.sampled_from(EVENTS), max_size=6)
blanks = st.sampled_from([b"\n\n", b"\r\n\r\n"])


def cut(stream: bytes, data: st.DataObject) -> list[bytes]:
    """Any split of `stream` into pieces, in the middle of characters and line ends as well."""
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


def play(pieces: list[bytes], strip: bool = False) -> tuple[EventStream, bytes, bytes]:
    """What went on while the stream ran, and what was left for its end."""
    stream = EventStream(strip)
    during = b"".join([stream.feed(piece) for piece in pieces if piece])
    return stream, during, stream.finish()


@given(events, blanks, st.data())
def test_any_split_gives_the_same_bytes(parts: list[bytes], blank: bytes, data: st.DataObject) -> None:
    stream = b"".join(event + blank for event in parts)
    _, during, rest = play(cut(stream, data))
    assert (during, rest) == (stream, b"")


@given(st.lists(st.sampled_from([*EVENTS, MARK, USAGE, b"\n", b"\r\n", b"\r", b"data:", b"\n\n", b"\r\n\r\n", b""])),
       st.data())  # fmt: skip
@example([b"\n\n", b"data:"], None)
@example([MARK, b"\n\n", b"data:"], None)
def test_no_byte_is_lost_or_moved_whatever_it_is(parts: list[bytes], data: st.DataObject | None) -> None:
    stream = b"".join(parts)
    _, during, rest = play(cut(stream, data) if data is not None else [stream])
    assert during + rest == stream


@given(st.binary(max_size=300), st.data())
def test_bytes_that_are_no_events_pass(stream: bytes, data: st.DataObject) -> None:
    _, during, rest = play(cut(stream, data))
    assert during + rest == stream


@given(events, blanks, st.sampled_from([MARK, b"data:[DONE]", b"id: 1\n" + MARK]), st.sampled_from([b"", b": bye"]),
       st.data())  # fmt: skip
def test_the_end_marker_waits_for_the_end(
    parts: list[bytes], blank: bytes, mark: bytes, after: bytes, data: st.DataObject
) -> None:
    before = b"".join(event + blank for event in parts)
    stream, during, rest = play(cut(before + mark + blank + after, data))
    assert (during, rest) == (before, mark + blank + after)
    assert stream.done and not stream.is_cut


@given(events, st.booleans(), st.data())
def test_the_marker_waits_in_a_stream_that_mixes_line_ends(parts: list[bytes], crlf: bool, data: st.DataObject) -> None:
    ends = [b"\r\n\r\n", b"\n\n", b"\n\r\n"]
    before = b"".join(event + ends[i % 3] for i, event in enumerate(parts))
    mark = MARK + (b"\r\n\r\n" if crlf else b"\n\n")
    _, during, rest = play(cut(before + mark, data))
    assert (during, rest) == (before, mark)


@given(events, events, blanks, st.booleans(), st.data())
def test_the_usage_chunk_goes_only_if_nobody_asked(
    before: list[bytes], after: list[bytes], blank: bytes, strip: bool, data: st.DataObject
) -> None:
    def join(parts: list[bytes]) -> bytes:
        return b"".join(event + blank for event in parts)

    stream, during, rest = play(cut(join([*before, USAGE, *after, MARK]), data), strip)
    assert stream.usage == Usage(3, 2)
    assert during == join([*before, *after] if strip else [*before, USAGE, *after])
    assert rest == MARK + blank


RESPONSES = [
    b'event: response.created\ndata: {"type":"response.created","response":{"usage":null}}',
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a"}',
    b'event: response.completed\ndata: {"type":"response.completed","response":{"usage":{"input_tokens":9,'
    b'"input_tokens_details":{"cached_tokens":4},"output_tokens":3}}}',
]
MESSAGES = [
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":2,'
    b'"cache_read_input_tokens":4,"cache_creation_input_tokens":3,"output_tokens":1}}}',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"a"}}',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":3}}',
    b'event: message_stop\ndata: {"type":"message_stop"}',
]


@pytest.mark.parametrize("events", [RESPONSES, MESSAGES])
def test_usage_of_other_apis(events: list[bytes]) -> None:
    stream, _, _ = play([event + b"\n\n" for event in events])
    usage = stream.usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens) == (9, 3, 4)


def test_usage_beside_choices_is_read_and_stays() -> None:
    both = chunk("a", None, usage={"prompt_tokens": 5, "completion_tokens": 1})
    stream, during, _ = play([both + b"\n\n"], strip=True)
    assert stream.usage == Usage(5, 1)
    assert during == both + b"\n\n"


@pytest.mark.parametrize("usage", [b'{"choices":[],"usage":null}', b'{"choices":[],"usage": {}}'])
def test_an_absent_usage_is_none_and_an_empty_one_counts_nothing(usage: bytes) -> None:
    stream, _, _ = play([b"data: " + usage + b"\n\n"])
    assert stream.usage in (None, Usage())


@settings(max_examples=20, deadline=None)
@given(st.integers(1_000, 200_000), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_a_line_of_a_megabyte_passes_and_is_not_all_held(size: int, blank: bytes) -> None:
    event = chunk("x" * 1_048_576) + blank
    stream = EventStream(strip=True)
    waiting = went = 0
    for start in range(0, len(event), size):
        waiting += len(event[start : start + size])
        sent = stream.feed(event[start : start + size])
        waiting -= len(sent)
        went += len(sent)
        assert waiting <= 65_536
    assert went + len(stream.finish()) == len(event)
    assert stream.speaks


@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=5), st.data())
def test_a_stream_of_bare_carriage_returns_passes_byte_for_byte(parts: list[bytes], data: st.DataObject) -> None:
    """The third line end of the specification: nobody sends it. Such a stream is carried, not read."""
    stream = b"".join(event.replace(b"\n", b"\r") + b"\r\r" for event in [*parts, MARK])
    _, during, rest = play(cut(stream, data))
    assert during + rest == stream


def test_events_go_on_as_soon_as_they_are_whole() -> None:
    stream = EventStream(strip=False)
    assert stream.feed(chunk("a") + b"\n\n" + chunk("b")[:20]) == chunk("a") + b"\n\n"
    assert stream.feed(chunk("b")[20:]) == b""
    assert stream.feed(b"\n") == b""
    assert stream.feed(b"\n") == chunk("b") + b"\n\n"
    assert stream.events == 2


def test_what_follows_the_marker_is_not_held_without_bound() -> None:
    stream = EventStream(strip=False)
    sent = stream.feed(MARK + b"\n\n")
    for _ in range(100):
        sent += stream.feed(b": noise\n\n" * 500)
        assert len(stream._held) <= 65_536
    assert sent + stream.finish() == MARK + b"\n\n" + b": noise\n\n" * 50_000


CUT = [
    ([chunk("a")], True),
    ([chunk("a"), FINISH], False),
    ([chunk("a"), chunk("", "length", x="y" * 2000)], False),
    ([chunk("a"), FINISH, USAGE], False),
    ([chunk("a"), b": ping", MARK], False),
    ([chunk("a"), b'data: {"error":{"message":"x"}}'], False),  # it says itself that it failed
    ([b'event: message_stop\ndata: {"type":"message_stop"}'], False),  # no stream of choices: nothing is known
    ([b": ping"], False),
]


@pytest.mark.parametrize(("parts", "is_cut"), CUT)
@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("last", [True, False], ids=["whole", "unended"])
def test_a_stream_of_choices_must_say_that_it_is_over(
    parts: list[bytes], is_cut: bool, blank: bytes, last: bool
) -> None:
    whole = blank.join(parts) + (blank if last else b"")
    for pieces in ([whole], [whole[i : i + 1] for i in range(len(whole))]):
        stream, _, _ = play(pieces)
        assert stream.is_cut == is_cut


def test_the_last_event_is_read_even_without_its_empty_line() -> None:
    stream, during, rest = play([FINISH + b"\n\n" + USAGE], strip=True)
    assert (during, rest, stream.usage) == (FINISH + b"\n\n", b"", Usage(3, 2))
    stream, during, rest = play([FINISH + b"\n\n" + MARK])
    assert (during, rest, stream.done) == (FINISH + b"\n\n", MARK, True)


def test_an_error_inside_the_stream_is_noticed() -> None:
    assert play([b'data: {"error":{"message":"boom"}}\n\n'])[0].failed
    assert not play([chunk('an "error" in a text') + b"\n\n"])[0].failed


def request(stream: bool = True, **fields: Any) -> Exchange:
    head = read_head(b"POST", b"/v1/chat/completions", "1.1", [(b"host", b"a")])
    exchange = Exchange("id", head, head.method, head.path, 0.0)
    exchange.body = json.dumps({"model": "m", **fields}).encode()
    exchange.fields = parse_object(exchange.body, 64)
    exchange.stream = stream
    return exchange


@pytest.mark.parametrize(
    ("options", "stream", "reports", "forwarded", "wants"),
    [
        ({}, True, True, {"include_usage": True}, False),
        ({"stream_options": None}, True, True, {"include_usage": True}, False),
        ({"stream_options": {"a": 1}}, True, True, {"a": 1, "include_usage": True}, False),
        ({"stream_options": {"include_usage": False}}, True, True, {"include_usage": True}, False),
        ({"stream_options": {"include_usage": True}}, True, True, {"include_usage": True}, True),
        ({}, False, True, None, False),
        ({}, True, False, None, False),
        ({"stream_options": {"include_usage": True}}, True, False, {"include_usage": True}, True),
    ],
)
def test_usage_is_asked_for_where_the_engine_reports_it(
    options: dict[str, Any], stream: bool, reports: bool, forwarded: Any, wants: bool
) -> None:
    exchange = request(stream, **options)
    ask_for_usage(exchange, reports)
    assert exchange.fields is not None
    raw = exchange.fields.get("stream_options")
    assert (None if raw is None else json.loads(bytes(raw))) == forwarded
    assert exchange.client_wants_usage == wants


def test_options_that_are_no_object_are_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        ask_for_usage(request(stream_options="x"), True)
    assert (caught.value.number, caught.value.param) == (1214, "stream_options")


def test_an_error_is_one_event_without_an_end() -> None:
    event = error_event(GatewayError(1705), "rid")
    assert event.startswith(b"data: {") and event.endswith(b"}\n\n") and event.count(b"\n") == 2
    assert json.loads(event[6:])["error"]["number"] == 1705


PROMPT: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 100}]}


@pytest.mark.parametrize(
    ("usage", "delivered", "expected"),
    [
        (Usage(7, 3), 9, ("counted", 7, 3)),
        (Usage(0, 0), 9, ("counted", 0, 0)),  # an explicit 0 is 0
        (Usage(7), 9, ("counted", 7, 0)),
        (None, 9, ("estimated", 34, 9)),
        (Usage(None, 5), 9, ("estimated", 34, 9)),
    ],
)
def test_tokens_are_the_engines_or_marked_as_guessed(usage: Usage | None, delivered: int, expected: Any) -> None:
    exchange = request(**PROMPT)
    count_tokens(exchange, usage, delivered)
    assert (exchange.tokens.source, exchange.tokens.prompt, exchange.tokens.completion) == expected


@pytest.mark.parametrize("fields", [{"prompt": "x" * 38}, {"input": "x" * 38}, {}])
def test_the_prompt_is_a_token_per_four_bytes(fields: dict[str, Any]) -> None:
    exchange = request(**fields)
    count_tokens(exchange, None, 0)
    assert exchange.tokens.prompt == (10 if fields else 0)

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.relay.dialect.events import EventStream, watch_events
from gateway.relay.dialect.kind import AUDIO, CHAT, COMPLETIONS, IMAGES, MESSAGES, RESPONSES, Dialect
from gateway.usage import Usage
from tests.faults.recording import STREAMS, events_of, stream_of

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


TOLD = {  # prompt, completion, cached, events that bring a piece
    "chat": (CHAT, 19, 3, 7, 3),
    "llama_server": (CHAT, 19, 3, 7, 3),
    "completions": (COMPLETIONS, 5, 3, 0, 3),
    "responses": (RESPONSES, 37, 11, 16, 3),
    "messages": (MESSAGES, 35, 15, 8, 2),
    "transcription": (AUDIO, 14, 45, 0, 3),
    "speech": (AUDIO, 14, 101, 0, 2),
    "images": (IMAGES, 50, 50, 0, 0),
}
FAILED = {"responses_failed": RESPONSES, "messages_failed": MESSAGES}


def listen(dialect: Dialect, pieces: list[bytes], strip: bool = True) -> tuple[EventStream, bytes, bytes]:
    stream = watch_events(dialect, strip)
    during = b"".join([stream.feed(piece) for piece in pieces if piece])
    return stream, during, stream.finish()


def test_every_recording_is_looked_at() -> None:
    assert {*TOLD, *FAILED} == set(STREAMS)


@settings(max_examples=30)
@given(st.sampled_from(sorted(TOLD)), st.sampled_from([b"\n", b"\r\n"]), st.data())
def test_recorded_streams_are_understood_however_they_are_cut(name: str, end: bytes, data: st.DataObject) -> None:
    dialect, *told, pieces = TOLD[name]
    recorded = stream_of(name).replace(b"\n", end)
    stream, during, rest = listen(dialect, cut(recorded, data))
    usage = stream.usage
    assert usage is not None
    cached = usage.prompt_tokens_details.cached_tokens or 0 if usage.prompt_tokens_details is not None else 0
    assert [usage.prompt_tokens, usage.completion_tokens, cached] == told
    assert stream.done and not stream.is_cut and not stream.failed
    assert stream.events == pieces
    only_ours = [event for event in events_of(name) if dialect.asks_usage and b'"choices":[]' in event]
    expected = stream_of(name)
    for event in only_ours:
        expected = expected.replace(event + b"\n\n", b"")
    assert during + rest == expected.replace(b"\n", end)
    last = events_of(name)[-1].replace(b"\n", end) if dialect.ends else MARK
    assert rest == last + 2 * end


@given(st.sampled_from(sorted(TOLD)), st.data())
def test_a_recorded_stream_that_breaks_off_is_cut_and_counts_no_usage(name: str, data: st.DataObject) -> None:
    dialect, *_ = TOLD[name]
    parts = events_of(name)
    most = next(i for i, part in enumerate(parts) if b'"finish_reason":"' in part or i == len(parts) - 1)
    kept = data.draw(st.integers(1, most))
    shown = b"".join(part + b"\n\n" for part in parts[:kept])
    stream, during, rest = listen(dialect, cut(shown, data))
    assert stream.is_cut and stream.usage is None
    assert during + rest == shown


@given(st.sampled_from(sorted(FAILED)), st.data())
def test_a_failure_inside_a_recorded_stream_is_seen(name: str, data: st.DataObject) -> None:
    stream, during, rest = listen(FAILED[name], cut(stream_of(name), data))
    assert stream.failed and not stream.is_cut
    assert during + rest == stream_of(name)


@given(st.lists(st.sampled_from([*EVENTS, MARK, b"data: [1]", b'data: {"type":1}', b"data:", b"\r\r", b'event: error']),
                max_size=6), st.sampled_from([RESPONSES, MESSAGES, AUDIO]), st.data())  # fmt: skip
def test_typed_streams_lose_no_byte_of_what_they_do_not_know(
    parts: list[bytes], dialect: Dialect, data: st.DataObject
) -> None:
    stream = b"\n\n".join(parts)
    _, during, rest = listen(dialect, cut(stream, data))
    assert during + rest == stream


@pytest.mark.parametrize("size", [10_000, 3_000_000])
def test_a_last_event_of_any_length_ends_the_stream(size: int) -> None:
    first, *_, last = events_of("responses")
    long = last.replace(b"Hi there!", b"a" * size)
    shown = first + b"\n\n" + long + b"\n\n"
    pieces = [shown[at : at + 65_536] for at in range(0, len(shown), 65_536)]
    stream, during, rest = listen(RESPONSES, pieces)
    assert during + rest == shown
    assert stream.done and not stream.is_cut
    assert stream.usage is not None and stream.usage.completion_tokens == 11


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


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b""], ids=["lf", "crlf", "unended"])
@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"error":"out of memory"}', "out of memory"),  # mlx_lm, Ollama
        (b'{"error":{"code":500,"message":"bad: /opt/app/x.py","type":"server_error"}}', "bad: [path]"),  # llama-server
        (b'{"error":{"message":"boom","type":"server_error"}}', ""),
    ],
)
def test_an_error_inside_a_stream_is_made_even(said: bytes, message: str, end: bytes) -> None:
    before = chunk("a") + b"\n\n"
    stream = watch_events(CHAT, True, "rid")
    sent = stream.feed(before + b"data: " + said + end) + stream.finish()
    assert stream.failed
    assert sent.startswith(before + b"data: ")
    told = json.loads(sent.removeprefix(before + b"data: "))
    if message:
        assert (told["error"]["message"], told["error"]["number"], told["meta"]["request_id"]) == (message, 1715, "rid")
        assert sent.endswith(end or b"\n\n")
    else:
        assert sent == before + b"data: " + said + end

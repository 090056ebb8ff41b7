import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.relay.dialect.wording import Listener, read_answer, read_piece, split_prompt
from gateway.wire import parse_object
from tests.faults.recording import answer_of, stream_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]},
         ["system: be brief", "user: hi"]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "what is"}, IMAGE]}]},
         ["user: what is\n[image]"]),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "function": {"name": "find", "arguments": '{"q":"x"}'}}]}]}, ['assistant: [find {"q":"x"}]']),
        ({"messages": [{"role": "tool", "tool_call_id": "1", "content": "found"}]}, ["tool: found"]),
        ({"system": "be brief", "messages": [{"role": "user", "content": [
            {"type": "tool_result", "content": [{"type": "text", "text": "done"}]},
            {"type": "image", "source": {"data": "AAAA"}}, {"type": "document", "source": {}}]}]},
         ["be brief", "user: done\n[image]\n[file]"]),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"a": 1}}]}]},
         ['assistant: [f {"a":1}]']),
        ({"instructions": "be brief", "input": "hi"}, ["be brief", "hi"]),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image"},
                                                 {"type": "input_audio"}, {"type": "input_file"}]},
                    {"type": "function_call", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "output": "42"}]},
         ["user: hi\n[image]\n[audio]\n[file]", "[f {}]", "42"]),
        ({"prompt": "once"}, ["once"]),
        ({"prompt": [[1, 2], [3]]}, ["[tokens]", "[tokens]"]),
        ({"query": "q", "documents": ["a", {"text": "b"}]}, ["q", "a", "b"]),
        ({"messages": 7, "input": None, "prompt": {}}, ["", "", ""]),
        ({"model": "m", "user": "u", "tools": [{"name": "t"}]}, []),
    ],
)  # fmt: skip
def test_prompts(body: dict[str, Any], said: list[str]) -> None:
    assert [read_piece(raw) for raw in split_prompt(parse_object(json.dumps(body).encode(), 30))] == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "hi"}}]}, "hi"),
        ({"choices": [{"text": "one"}, {"text": "two"}]}, "one\ntwo"),
        ({"choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]},
         "[f {}]"),
        ({"content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "name": "f", "input": {}}]}, "hi\n[f {}]"),
        ({"output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]}, "hi"),
        ({"text": "a transcript"}, "a transcript"),
        ({"data": [{"embedding": [0.1]}]}, ""),
        ({"results": [{"index": 0}]}, ""),
        ([], ""),
    ],
)  # fmt: skip
def test_answers(answer: Any, said: str) -> None:
    assert read_answer(json.dumps(answer).encode()) == said


@pytest.mark.parametrize("name", ["chat", "completions", "messages", "responses"])
@pytest.mark.parametrize("size", [1, 13, 10**6])
def test_a_stream_says_what_its_whole_answer_says(name: str, size: int) -> None:
    """The recorded pairs were made of the same words."""
    heard, told = Listener(10**6), stream_of(name)
    for at in range(0, len(told), size):
        heard.feed(told[at : at + size])
    assert heard.text() and heard.text() in read_answer(answer_of(name))


def event(**data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\r\n\r\n"


def test_tools_and_several_choices() -> None:
    heard = Listener(1000)
    heard.feed(event(choices=[{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]))
    heard.feed(event(choices=[{"index": 0, "delta": {"tool_calls": [{"function": {"name": "f", "arguments": ""}}]}}]))
    heard.feed(event(choices=[{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": '{"x":1}'}}]}}]))
    heard.feed(event(type="content_block_start", content_block={"type": "tool_use", "name": "g"}))
    heard.feed(event(type="content_block_delta", delta={"type": "input_json_delta", "partial_json": "{}"}))
    heard.feed(event(type="response.output_item.added", item={"type": "function_call", "name": "h"}))
    heard.feed(event(type="response.function_call_arguments.delta", delta="[]"))
    heard.feed(event(type="response.output_text.done", text="again, all of it"))
    assert heard.text() == 'a[f] {"x":1}[g] {}[h] []\nb'


def test_no_more_is_held_than_was_asked_for() -> None:
    heard = Listener(100)
    for _ in range(1000):
        heard.feed(event(choices=[{"delta": {"content": "0123456789"}}]))
    assert len(heard.text()) == 100
    heard = Listener(100)
    heard.feed(b"data: " + b"x" * 100_000)
    heard.feed(b"\n\n" + event(choices=[{"text": "on"}]))
    assert heard.text() == "on"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "text", "image", "x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "type", "content", "text", "choices", "delta", "index", "tool_calls", "function",
                         "name", "arguments", "input", "output", "item", "content_block", "message"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_any_json_is_taken(value: Any) -> None:
    data = msgspec.json.encode(value)
    assert isinstance(read_answer(data), str)
    assert isinstance(read_piece(msgspec.Raw(data)), str)
    heard = Listener(100)
    heard.feed(b"data: " + data + b"\n\n")
    assert isinstance(heard.text(), str)
    if isinstance(value, dict):
        split_prompt(parse_object(data, 64))

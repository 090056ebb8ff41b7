import json
from typing import Any

import pytest

from gateway.relay.dialect.events import watch_events
from gateway.relay.dialect.finish import find_finish
from gateway.relay.dialect.kind import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES, Dialect
from tests.faults.recording import STREAMS, stream_of


def choice(reason: str | None, text: str = "hi") -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": reason}]}


def response(status: str, reason: str = "", *kinds: str) -> dict[str, Any]:
    items = [{"type": kind, "status": "completed"} for kind in kinds or ("message",)]
    return {"status": status, "output": items, "incomplete_details": {"reason": reason} if reason else None}


@pytest.mark.parametrize(
    ("dialect", "answer", "finish"),
    [
        (CHAT, choice("stop"), "stop"),
        (CHAT, choice("length"), "length"),
        (CHAT, choice("tool_calls"), "tool_calls"),
        (CHAT, choice("abort"), "abort"),
        (CHAT, choice(None), ""),
        (CHAT, choice("x" * 40), ""),
        (CHAT, {"choices": []}, ""),
        (CHAT, choice(None, 'he said "finish_reason": "length"'), ""),
        (COMPLETIONS, {"choices": [{"text": "hi", "finish_reason": "eos_token"}]}, "stop"),
        (MESSAGES, {"content": [], "stop_reason": "end_turn"}, "stop"),
        (MESSAGES, {"content": [], "stop_reason": "max_tokens"}, "length"),
        (MESSAGES, {"content": [], "stop_reason": "tool_use"}, "tool_calls"),
        (MESSAGES, {"content": [], "stop_reason": "refusal"}, "content_filter"),
        (MESSAGES, {"content": [], "stop_reason": None}, ""),
        (RESPONSES, response("completed"), "stop"),
        (RESPONSES, response("completed", "", "reasoning", "function_call"), "tool_calls"),
        (RESPONSES, response("incomplete", "max_output_tokens"), "length"),
        (RESPONSES, response("incomplete", "content_filter"), "content_filter"),
        (RESPONSES, response("failed"), ""),
        (RESPONSES, {"status": 7}, ""),
        (EMBEDDINGS, {"finish_reason": "stop"}, ""),
    ],
)
def test_whole_answers(dialect: Dialect, answer: dict[str, Any], finish: str) -> None:
    for separators in ((",", ":"), (", ", ": ")):
        assert find_finish(dialect, json.dumps(answer, separators=separators).encode()) == finish


@pytest.mark.parametrize("said", [b"", b"not json", b"\xff\xfe", b'"finish_reason"', b"[]", b'{"status":"completed"'])
@pytest.mark.parametrize("dialect", [CHAT, MESSAGES, RESPONSES])
def test_whatever_it_is(dialect: Dialect, said: bytes) -> None:
    assert find_finish(dialect, said) == ""


ENDS = {
    "chat": (CHAT, "stop"),
    "completions": (COMPLETIONS, "length"),
    "llama_server": (CHAT, "stop"),
    "messages": (MESSAGES, "stop"),
    "messages_failed": (MESSAGES, ""),
    "responses": (RESPONSES, "stop"),
    "responses_failed": (RESPONSES, ""),
}


@pytest.mark.parametrize("name", [name for name in STREAMS if name in ENDS])
@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
def test_streams_of_servers(name: str, size: int) -> None:
    dialect, finish = ENDS[name]
    stream, told = watch_events(dialect, strip=False), stream_of(name)
    for at in range(0, len(told), size):
        stream.feed(told[at : at + size])
    stream.finish()
    assert find_finish(dialect, stream.ending) == finish

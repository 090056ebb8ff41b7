"""Why a model stopped, as its API says it, in the words of OpenAI's `finish_reason`.

A word that is not known stays as it is. Names of members are looked for as bytes: inside of a text their quotes are
escaped, so that no text is taken for one.
"""

import re
from typing import Any

import msgspec

from gateway.http.memo import Memo
from gateway.relay.dialect.kind import Dialect, Shape

_WORDS = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter",
    "eos": "stop", "eos_token": "stop", "max_output_tokens": "length",
}  # fmt: skip
_NAMES: dict[Shape, bytes] = {"openai": b'"finish_reason"', "anthropic": b'"stop_reason"'}
_MEMBER = 36  # bytes behind a name that hold the longest word
_match_word = re.compile(rb'\s*:\s*"([a-z_]{1,32})"').match
_data = re.compile(rb"^data:(.*)$", re.MULTILINE)


class _Item(msgspec.Struct):
    type: str = ""


class _Incomplete(msgspec.Struct):
    reason: str = ""


class _Response(msgspec.Struct):
    """An answer of the Responses API, or the last event of its stream, which holds one."""

    status: str = ""
    output: list[_Item] = []
    incomplete_details: _Incomplete | None = None
    response: Any = None


_responses = msgspec.json.Decoder(_Response)


def find_finish(dialect: Dialect, said: bytes) -> str:
    """Why the model stopped; empty where `said`, an answer or the end of one, does not tell."""
    if not dialect.is_text:
        return ""
    name = _NAMES.get(dialect.shape)
    if name is None:
        return _of_response(said)
    at = said.rfind(name) + len(name)
    return _words[said[at : at + _MEMBER]] if at >= len(name) else ""


def _read_word(behind: bytes) -> str:
    found = _match_word(behind)
    if found is None:
        return ""
    word = found[1].decode()
    return _WORDS.get(word, word)


_words: Memo[str] = Memo(_read_word)  # by what stands behind the name: few different pieces from one server


def _of_response(said: bytes) -> str:
    lines = _data.findall(said)
    try:
        answer = _responses.decode(lines[-1] if lines else said)
        if answer.response is not None:
            answer = msgspec.convert(answer.response, _Response)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    if answer.status == "incomplete":
        reason = answer.incomplete_details.reason if answer.incomplete_details is not None else ""
        return _WORDS.get(reason, reason[:32])
    if answer.status != "completed":
        return ""
    return "tool_calls" if any(item.type == "function_call" for item in answer.output) else "stop"

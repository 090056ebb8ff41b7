"""What model servers say of tokens: `usage` and its kin, in whole answers and in events of streams."""

import json
from typing import Annotated, Any

import msgspec

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**40)]  # what is beyond is no figure that anybody is charged by


class _Cached(msgspec.Struct):
    cached_tokens: _Tokens | None = None


class Usage(msgspec.Struct):
    """OpenAI's `usage`. A field that is absent is None: an explicit 0 is 0.

    The first three fields hold as well what the Responses API (`input_tokens`, …) and Anthropic's Messages call
    otherwise; there, tokens that were read from a cache or put into one are not among the `input_tokens`.
    """

    prompt_tokens: _Tokens | None = None
    completion_tokens: _Tokens | None = None
    prompt_tokens_details: _Cached | None = None
    input_tokens: _Tokens | None = None
    output_tokens: _Tokens | None = None
    input_tokens_details: _Cached | None = None
    cache_read_input_tokens: _Tokens | None = None
    cache_creation_input_tokens: _Tokens | None = None

    def __post_init__(self) -> None:
        if self.completion_tokens is None:
            self.completion_tokens = self.output_tokens
        if self.prompt_tokens is None and self.input_tokens is not None:
            cached = self.cache_read_input_tokens or 0
            self.prompt_tokens = self.input_tokens + cached + (self.cache_creation_input_tokens or 0)
            self.prompt_tokens_details = self.input_tokens_details or _Cached(cached)

    def after(self, earlier: "Usage | None") -> "Usage":
        """These figures, with what an earlier event of the stream said of the prompt where this one is silent."""
        if self.prompt_tokens is None and earlier is not None:
            self.prompt_tokens, self.prompt_tokens_details = earlier.prompt_tokens, earlier.prompt_tokens_details
        return self


class _Timings(msgspec.Struct):
    """llama-server's `timings`; of the prompt, `cache_n` tokens were there already."""

    predicted_n: _Tokens
    prompt_n: _Tokens
    cache_n: _Tokens = 0


class _Answer(msgspec.Struct):
    usage: Usage | None = None
    timings: Any = None


class Event(msgspec.Struct):
    """The payload of one event of a stream, as far as it concerns us."""

    type: Any = None  # of all but Chat and Completions
    usage: Usage | None = None
    choices: list[msgspec.Raw] | None = None
    error: Any = None
    timings: Any = None
    response: _Answer | str | None = None  # of the Responses API
    message: _Answer | str | None = None  # of Anthropic's Messages

    def __post_init__(self) -> None:
        for whole in (self.response, self.message):
            if self.usage is None and isinstance(whole, _Answer):
                self.usage = whole.usage


_some_json = json.JSONDecoder().raw_decode
_answers = msgspec.json.Decoder(_Answer)
_events = msgspec.json.Decoder(Event)


def read_usage(body: bytes) -> Usage | None:
    """The `usage` of a whole JSON answer, or what its `timings` say, None where there is neither."""
    try:
        answer = _answers.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return answer.usage if answer.usage is not None else read_timings(answer.timings)


def read_timings(timings: Any) -> Usage | None:
    """Usage as llama-server tells it where it was not asked for it."""
    try:
        told = msgspec.convert(timings, _Timings)
    except msgspec.ValidationError:
        return None
    return Usage(told.prompt_n + told.cache_n, told.predicted_n, _Cached(told.cache_n))


def find_usage(tail: bytes) -> Usage | None:
    """The `usage` of a JSON answer of which only the end is known, None where it is not there."""
    at = tail.rfind(b'"usage"')
    try:
        value, _ = _some_json(tail[at + 7 :].decode().lstrip(" \t\r\n:"))
        return msgspec.convert(value, Usage) if at >= 0 else None
    except (ValueError, RecursionError):
        return None


def read_event(data: bytes) -> Event | None:
    """The payload of one `data:` line as far as it concerns us, None where it is not a JSON object."""
    try:
        return _events.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None

"""What requests of the model APIs look like, as types: one Struct a dialect, decoded in one go.

Sources: OpenAI's API reference (chat, completions, embeddings, responses), Anthropic's Messages, Cohere's and Jina's
rerank, and the sampling parameters of llama.cpp and vLLM. Members that are not named here are left alone; null stands
for absent. Bounds of what only engines know exist because such a value has taken one down (a negative `n_discard`:
CVE-2026-21869), or would keep it busy for ever.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

_INT32 = 2**31 - 1
_NULL = Raw(b"null")  # stands for a member that is absent
GRAMMAR = 65_536  # characters

Share = Annotated[float, Meta(ge=0, le=1)]
AboveZero = Annotated[float, Meta(gt=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Factor = Annotated[float, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=1, le=_INT32)]
Natural = Annotated[int, Meta(ge=0, le=_INT32)]
OrMinusOne = Annotated[int, Meta(ge=-1, le=_INT32)]  # -1: no limit
Choices = Annotated[int, Meta(ge=1, le=128)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Source = Annotated[str, Meta(max_length=GRAMMAR)]
Words = Annotated[list[Annotated[str, Meta(max_length=1024)]], Meta(max_length=128)]
Stops = Annotated[list[str], Meta(max_length=4, description="a list of at most 4 texts")]
Biases = dict[str, Annotated[float, Meta(ge=-100, le=100)] | bool]
Role = Literal["user", "assistant", "system", "developer", "tool", "function"]
PartType = Literal["text", "image_url", "input_audio", "file", "refusal", "video_url", "audio_url"]
Ids = Annotated[list[Natural], Meta(min_length=1)]
Texts = Annotated[
    list[str | Natural | Ids], Meta(min_length=1, description="a list of texts or token ids that is not empty")
]


class Sampling(Struct, kw_only=True, gc=False):
    """How to generate: the same words in every dialect."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: AboveZero | None = None
    top_k: OrMinusOne | None = None
    min_p: Share | None = None
    typical_p: Share | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repeat_penalty: Factor | None = None
    repetition_penalty: Factor | None = None
    repeat_last_n: OrMinusOne | None = None
    length_penalty: Annotated[float, Meta(ge=-100, le=100)] | None = None
    n: Choices | None = None
    best_of: Choices | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    max_output_tokens: Count | None = None
    min_tokens: Natural | None = None
    seed: Seed | None = None
    stop: str | Stops | None = None
    logprobs: bool | Annotated[int, Meta(ge=0, le=20)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    prompt_logprobs: Annotated[int, Meta(ge=-1, le=20)] | None = None
    logit_bias: Annotated[Biases, Meta(max_length=1024)] | Annotated[list[Any], Meta(max_length=1024)] | None = None
    tools: Annotated[list[dict[str, Raw]], Meta(max_length=512)] | None = None
    grammar: Source | None = None
    guided_grammar: Source | None = None
    guided_regex: Source | None = None
    n_predict: OrMinusOne | None = None
    n_probs: Annotated[int, Meta(ge=0, le=100)] | None = None
    n_keep: OrMinusOne | None = None
    n_discard: Natural | None = None
    n_indent: Natural | None = None
    n_cmpl: Choices | None = None
    min_keep: Natural | None = None
    id_slot: OrMinusOne | None = None
    t_max_predict_ms: OrMinusOne | None = None
    mirostat: Annotated[int, Meta(ge=0, le=2)] | None = None
    dry_penalty_last_n: OrMinusOne | None = None
    dry_allowed_length: Natural | None = None
    dry_sequence_breakers: Words | None = None
    samplers: Words | Annotated[str, Meta(max_length=1024)] | None = None


class Part(Struct, kw_only=True, gc=False):
    """A piece of a message; the member that holds it has the name of its type."""

    type: PartType
    text: str | None = None
    refusal: str | None = None
    image_url: Raw = _NULL
    input_audio: Raw = _NULL
    file: Raw = _NULL
    video_url: Raw = _NULL
    audio_url: Raw = _NULL


Content = Annotated[list[Part], Meta(description="a list of parts")]


class Message(Struct, kw_only=True, gc=False):
    role: Role
    content: str | Content | None = None
    tool_calls: list[dict[str, Raw]] | None = None


class Chat(Sampling, kw_only=True, gc=False):
    """POST /v1/chat/completions"""

    messages: Annotated[list[Message], Meta(min_length=1, description="a list of messages that is not empty")]


class Completion(Sampling, kw_only=True, gc=False):
    """POST /v1/completions"""

    prompt: str | Texts
    suffix: str | None = None
    echo: bool | None = None


class Embedding(Struct, kw_only=True, gc=False):
    """POST /v1/embeddings"""

    input: str | Texts
    dimensions: Count | None = None
    encoding_format: Literal["float", "base64"] | None = None


class Block(Struct, kw_only=True, gc=False):
    """A piece of content in Anthropic's dialect, or of a Responses item; its types are many and grow."""

    type: Annotated[str, Meta(min_length=1, max_length=64)]
    text: str | None = None
    content: Any = None


Blocks = Annotated[list[Block], Meta(description="a list of blocks with a `type` each")]


class Turn(Struct, kw_only=True, gc=False):
    role: Literal["user", "assistant"]
    content: str | Blocks


class Anthropic(Sampling, kw_only=True, gc=False):
    """POST /v1/messages"""

    messages: Annotated[list[Turn], Meta(min_length=1, description="a list of messages that is not empty")]
    max_tokens: Count
    temperature: Share | None = None
    system: str | Blocks | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=8192)] | None = None


class Item(Struct, kw_only=True, gc=False):
    """An item of a Responses `input`: a message, a call, its output, and what else there will be."""

    type: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    role: Role | None = None
    content: str | Blocks | None = None
    output: Any = None


class Response(Sampling, kw_only=True, gc=False):
    """POST /v1/responses; `input` may be missing where a stored prompt is named."""

    input: str | Annotated[list[Item], Meta(min_length=1, description="a list of items that is not empty")] | None = (
        None
    )
    instructions: str | None = None
    prompt: Raw = _NULL
    previous_response_id: str | None = None
    max_tool_calls: Count | None = None


class Rerank(Struct, kw_only=True, gc=False):
    """POST /v1/rerank"""

    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[
        list[str | dict[str, Raw]], Meta(min_length=1, description="a list of texts or objects that is not empty")
    ]
    top_n: Count | None = None


class Unknown(Sampling, kw_only=True, gc=False):
    """Another path: what is common is checked, the rest is not known."""


KNOWN_ELSEWHERE = frozenset((
    "model", "stream", "stream_options", "user", "metadata", "store", "response_format", "service_tier", "tool_choice",
    "parallel_tool_calls", "reasoning", "reasoning_effort", "safety_identifier", "prompt_cache_key", "verbosity",
))  # fmt: skip
_CHAT = frozenset((
    "audio", "functions", "function_call", "modalities", "prediction", "web_search_options", "chat_template_kwargs",
))  # fmt: skip
_RESPONSE = frozenset((
    "background", "conversation", "include", "text", "truncation", "prompt_cache_retention", "context_management",
))  # fmt: skip
_ANTHROPIC = frozenset(("thinking", "container", "mcp_servers", "context_management", "output_config"))
_OTHERS = {Chat: _CHAT, Response: _RESPONSE, Anthropic: _ANTHROPIC}


def known_fields(shape: type[Struct]) -> frozenset[str]:
    """The names that a request of this dialect may have at its top."""
    named = frozenset(field.encode_name for field in msgspec.structs.fields(shape))
    return named | KNOWN_ELSEWHERE | _OTHERS.get(shape, frozenset())

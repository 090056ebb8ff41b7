"""The dialects: what is different between the APIs of models, as small values.

Sources: OpenAI's API reference (Chat, Completions, Responses, Embeddings, Audio, Images), Anthropic's (Messages), and
for rerank what Jina, Cohere, vLLM and llama-server have in common.
"""

from typing import Literal

import msgspec

Shape = Literal["openai", "responses", "anthropic"]


class Dialect(msgspec.Struct, frozen=True):
    """What the relay must know of an API. Fields of `usage` are told apart by their names alone (`wire.Usage`).

    `asks_usage`: a stream tells usage only if `stream_options` asks for it. `ends`: the types of the events that end a
    stream; none: its events have no types, and `[DONE]` ends it. `is_text`: tokens of an answer are guessed where
    nobody tells them. `is_media`: answers may be long and binary, so that only JSON is held. `takes_forms`: bodies may
    be multipart. `shape`: how errors look, whole and inside a stream. `converses`: what is
    asked is a conversation, whose end matters most.
    """

    name: str
    asks_usage: bool = False
    ends: frozenset[str] = frozenset()
    is_text: bool = True
    is_media: bool = False
    takes_forms: bool = False
    shape: Shape = "openai"
    converses: bool = False


CHAT = Dialect("chat", asks_usage=True, converses=True)
COMPLETIONS = Dialect("completions", asks_usage=True)
RESPONSES = Dialect(
    "responses", ends=frozenset(("response.completed", "response.incomplete", "response.failed")), shape="responses",
    converses=True,
)  # fmt: skip
MESSAGES = Dialect("messages", ends=frozenset(("message_stop",)), shape="anthropic", converses=True)
EMBEDDINGS = Dialect("embeddings", is_text=False)
RERANK = Dialect("rerank", is_text=False)
AUDIO = Dialect(
    "audio", ends=frozenset(("transcript.text.done", "speech.audio.done")), is_text=False, is_media=True,
    takes_forms=True,
)  # fmt: skip
IMAGES = Dialect(
    "images", ends=frozenset(("image_generation.completed", "image_edit.completed")), is_text=False, is_media=True,
    takes_forms=True,
)  # fmt: skip

DIALECTS = {d.name: d for d in (CHAT, COMPLETIONS, RESPONSES, MESSAGES, EMBEDDINGS, RERANK, AUDIO, IMAGES)}
_FAMILIES = frozenset(("audio", "images", "messages", "responses"))  # what lies below them speaks as they do


def find_dialect(path: str) -> Dialect:
    """The dialect that the end of a path names; Chat's for a path that names none."""
    parent, last = f"/{path}".rsplit("/", 2)[-2:]
    if parent in _FAMILIES:
        return DIALECTS[parent]
    return CHAT if parent == "chat" else DIALECTS.get(last, CHAT)

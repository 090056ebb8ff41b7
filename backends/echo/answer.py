"""The echo engine's answers in OpenAI's shapes; pure, and the same for the same request."""

import base64
import hashlib
import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from backends.echo.request import Chat, Embeddings, Text
from backends.echo.script import count_tokens, split_answer, stop_early

_CREATED = 1_700_000_000  # unix seconds; a constant, because the same request gets the same answer
_DIMENSIONS = 64
DONE = b"data: [DONE]\n\n"

encode = msgspec.json.encode


class Answer:
    """The answer to a chat or text completion, whole or as events. `pieces` are its words, or nothing for a tool."""

    def __init__(self, asked: Chat | Text) -> None:
        text = asked.asked
        self._asked = asked
        self._is_chat = isinstance(asked, Chat)
        self._tool = asked.forced_tool
        pieces, is_cut = split_answer(text, asked.echo, asked.limit)
        self.pieces, self._made = stop_early(pieces, asked.stops)
        is_cut = is_cut and self.pieces == pieces
        self._finish = "tool_calls" if self._tool else "length" if is_cut else "stop"
        kind = "chatcmpl" if self._is_chat else "cmpl"
        self._id = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""
        content = None if self._tool else "".join(self.pieces)
        if self._is_chat:
            message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
            if self._tool:
                message["tool_calls"] = [self._tool_call()]
            choice: dict[str, Any] = {"message": message}
        else:
            choice = {"text": content or ""}
        body = self._envelope(False, [{"index": 0, "logprobs": None, "finish_reason": self._finish} | choice])
        if self._asked.echo.usage != "none":
            body["usage"] = self._usage()
        return encode(body)

    def opening(self) -> bytes:
        """The event before the first piece: who speaks."""
        return self._event({"role": "assistant", "content": "", "refusal": None}) if self._is_chat else b""

    def events(self) -> Iterator[bytes]:
        """One event for each piece, or one for the tool call."""
        if self._tool:
            yield self._event({"tool_calls": [{"index": 0} | self._tool_call()]})
            return
        for piece in self.pieces:
            yield self._event({"content": piece} if self._is_chat else piece)

    def closing(self) -> bytes:
        """The events after the last piece, without the end mark."""
        end = self._event({} if self._is_chat else "", self._finish)
        if self._asked.wants_usage and self._asked.echo.usage != "none":
            end += _frame(self._envelope(True, []) | {"usage": self._usage()})
        return end

    def _event(self, delta: dict[str, Any] | str, finish: str | None = None) -> bytes:
        content = {"delta": delta} if self._is_chat else {"text": delta}
        body = self._envelope(True, [{"index": 0, "logprobs": None, "finish_reason": finish} | content])
        if self._asked.wants_usage:
            body["usage"] = None
        return _frame(body)

    def _envelope(self, is_stream: bool, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = ("chat.completion" + ".chunk" * is_stream) if self._is_chat else "text_completion"
        return {"id": self._id, "object": kind, "created": _CREATED, "model": self._asked.model, "choices": choices}

    def _tool_call(self) -> dict[str, Any]:
        arguments = encode({"text": self._asked.asked}).decode()
        function = {"name": self._tool, "arguments": arguments}
        return {"id": f"call_{self._id[-24:]}", "type": "function", "function": function}

    def _usage(self) -> dict[str, int]:
        if self._asked.echo.usage == "zero":
            return _usage(0, 0)
        return _usage(count_tokens(self._asked.prompt_text), 1 if self._tool else self._made)


def embed(asked: Embeddings) -> bytes:
    """One unit vector for each text, made from its hash."""
    size = asked.dimensions or _DIMENSIONS
    vectors = [_vector(text, size) for text in asked.texts]
    shown = [_base64(v) for v in vectors] if asked.encoding_format == "base64" else vectors
    data = [{"object": "embedding", "index": index, "embedding": item} for index, item in enumerate(shown)]
    body: dict[str, Any] = {"object": "list", "data": data, "model": asked.model}
    if asked.echo.usage != "none":
        prompt = 0 if asked.echo.usage == "zero" else sum(map(count_tokens, asked.texts))
        body["usage"] = {"prompt_tokens": prompt, "total_tokens": prompt}
    return encode(body)


def describe_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "echo"}


def describe_error(message: str, kind: str = "server_error", code: str | None = None) -> bytes:
    return encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _frame(body: dict[str, Any]) -> bytes:
    return b"data: " + encode(body) + b"\n\n"


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _vector(text: str, size: int) -> list[float]:
    numbers = struct.unpack(f"<{size}h", hashlib.shake_256(text.encode()).digest(2 * size))
    length = sum(number * number for number in numbers) ** 0.5 or 1.0
    return [number / length for number in numbers]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

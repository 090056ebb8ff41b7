"""What people would read of prompts and answers, in whichever dialect: the words, and a placeholder for the rest.

Everything here takes any JSON there can be, and finds no words in what it does not know.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

_CONVERSATION = ("system", "instructions", "messages", "input", "prompt", "query", "documents")
_REST = 65_536  # bytes of a line of a stream that are held until it is whole
_PLACEHOLDERS = {
    "image": "[image]", "image_url": "[image]", "input_image": "[image]", "audio": "[audio]",
    "input_audio": "[audio]", "file": "[file]", "input_file": "[file]", "document": "[file]",
}  # fmt: skip
_WHOLE = ("message", "text", "output", "content", "tool_calls", "function", "arguments")
_read_list = msgspec.json.Decoder(list[msgspec.Raw])


def split_prompt(fields: Mapping[str, msgspec.Raw]) -> list[msgspec.Raw]:
    """What a body asks, in the order in which it is read: messages, items and documents one by one."""
    pieces: list[msgspec.Raw] = []
    for name in _CONVERSATION:
        raw = fields.get(name)
        if raw is not None:
            pieces += _read_list.decode(raw) if bytes(memoryview(raw)[:1]) == b"[" else [raw]
    return pieces


def read_piece(raw: msgspec.Raw) -> str:
    """The words of one piece of a prompt, behind who says them."""
    return _say(msgspec.json.decode(raw))


def read_answer(body: bytes) -> str:
    """The words of a whole answer; empty where it is no JSON, or has none."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return ""
    return _join([_speak(choice) for choice in _list(answer.get("choices"))]) or _speak(answer)


def _say(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("role"), str):
        return f"{value['role']}: {_speak(value)}"
    return _speak(value)


def _speak(value: Any) -> str:
    """The words in a value: of a list those of its items, of an object those of the members that hold words."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "[tokens]" if value and isinstance(value[0], int) else _join([_speak(item) for item in value])
    if not isinstance(value, dict):
        return ""
    kind = value.get("type")
    if isinstance(kind, str) and kind in _PLACEHOLDERS:
        return _PLACEHOLDERS[kind]
    if isinstance(name := value.get("name"), str) and ("arguments" in value or "input" in value):  # a call of a tool
        given = value.get("arguments", value.get("input"))
        return f"[{name} {given if isinstance(given, str) else msgspec.json.encode(given).decode()}]"
    return _join([_speak(value[name]) for name in _WHOLE if name in value])


def _join(parts: list[str]) -> str:
    return "\n".join([part for part in parts if part])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class Listener:
    """Collects the words of a stream as its events go by, up to about `most` characters."""

    __slots__ = ("_left", "_parts", "_rest")

    def __init__(self, most: int) -> None:
        self._left = most
        self._parts: dict[int, list[str]] = {}  # by choice
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Bytes of the stream as they come, wherever they are cut."""
        if self._left <= 0:
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= _REST else b""
        for line in lines:
            if line.startswith(b"data:"):
                self._hear(line[5:])

    def text(self) -> str:
        """What was said so far, one choice after the other."""
        return _join(["".join(self._parts[choice]) for choice in sorted(self._parts)])

    def _hear(self, data: bytes) -> None:
        try:
            event = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if not isinstance(event, dict):
            return
        if isinstance(event.get("type"), str):
            self._note(0, _read_event(event["type"], event))
        for choice in _list(event.get("choices")):
            if isinstance(choice, dict):
                index = choice.get("index")
                self._note(index if isinstance(index, int) else 0, _read_delta(choice.get("delta", choice)))

    def _note(self, choice: int, words: str) -> None:
        if words and self._left > 0:
            self._parts.setdefault(choice, []).append(words)
            self._left -= len(words)


def _read_delta(delta: Any) -> str:
    """The words of a choice's piece: of Chat, where tools may be called in it, or of Completions."""
    if not isinstance(delta, dict):
        return ""
    found = [delta.get("content"), delta.get("text")]
    for call in _list(delta.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            name = function.get("name")
            found += [f"[{name}] " if name else None, function.get("arguments")]
    return "".join([words for words in found if isinstance(words, str)])


def _read_event(kind: str, event: Mapping[str, Any]) -> str:
    """The words of an event that has a type: of Responses, Messages, transcripts."""
    delta = event.get("delta")
    if isinstance(delta, dict):  # content_block_delta
        found = delta.get("text") or delta.get("partial_json")
    elif kind.endswith((".output_text.delta", "_arguments.delta", "text.delta", ".refusal.delta")):
        found = delta
    else:
        begun = event.get("content_block") or event.get("item") if kind.endswith(("_start", ".added")) else None
        found = f"[{begun['name']}] " if isinstance(begun, dict) and isinstance(begun.get("name"), str) else ""
    return found if isinstance(found, str) else ""

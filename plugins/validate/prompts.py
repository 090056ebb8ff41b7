"""The words of a request: that there are some, and how many characters.

Every function here takes a decoded request and returns the number of its characters; it raises GatewayError 1213 or
1214 where a text that must say something is blank.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Raw

from gateway.errors import GatewayError
from plugins.validate import shapes

TOKEN = 4  # characters that a token id stands for


def count_chat(request: shapes.Chat) -> int:
    total = 0
    for at, message in enumerate(request.messages):
        content = message.content
        if isinstance(content, str):
            total += len(content)
            if message.role == "user" and _is_blank(content):
                raise blank(f"messages[{at}].content")
        elif content:
            total += _count_parts(content, f"messages[{at}].content")
        elif message.role == "user":
            raise blank(f"messages[{at}].content")
    return total


def _count_parts(parts: list[shapes.Part], path: str) -> int:
    total = 0
    says = False
    for at, part in enumerate(parts):
        held = getattr(part, part.type)
        if held is None or (isinstance(held, Raw) and is_null(held)):
            raise GatewayError(1213, f"{path}[{at}] is of type {part.type} and has no {part.type}.",
                               param=f"{path}[{at}].{part.type}")  # fmt: skip
        if isinstance(held, str):
            total += len(held)
            says = says or not _is_blank(held)
        else:
            says = True
    if not says:
        raise blank(path)
    return total


def count_completion(request: shapes.Completion) -> int:
    return _count_texts(request.prompt, "prompt") + len(request.suffix or "")


def count_embedding(request: shapes.Embedding) -> int:
    return _count_texts(request.input, "input")


def _count_texts(texts: str | list[Any], path: str) -> int:
    if isinstance(texts, str):
        if _is_blank(texts):
            raise blank(path)
        return len(texts)
    total = 0
    for at, text in enumerate(texts):
        if isinstance(text, str):
            if _is_blank(text):
                raise blank(f"{path}[{at}]")
            total += len(text)
        else:
            total += TOKEN * (1 if isinstance(text, int) else len(text))
    return total


def count_anthropic(request: shapes.Anthropic) -> int:
    total = _count_blocks(request.system)
    for at, turn in enumerate(request.messages):
        if turn.role == "user" and _says_nothing(turn.content):
            raise blank(f"messages[{at}].content")
        total += _count_blocks(turn.content)
    return total


def count_response(request: shapes.Response) -> int:
    total, given = len(request.instructions or ""), request.input
    if given is None:
        if is_null(request.prompt) and request.previous_response_id is None:
            raise GatewayError(1213, "The body has no input.", param="input")
        return total
    if isinstance(given, str):
        if _is_blank(given):
            raise blank("input")
        return total + len(given)
    for at, item in enumerate(given):
        if item.role == "user" and _says_nothing(item.content):
            raise blank(f"input[{at}].content")
        total += _count_blocks(item.content) + _count_any(item.output)
    return total


def _says_nothing(content: str | list[shapes.Block] | None) -> bool:
    if isinstance(content, str):
        return _is_blank(content)
    return all(block.text is not None and _is_blank(block.text) for block in content or ())


def _count_blocks(content: str | list[shapes.Block] | None) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(len(block.text or "") + _count_any(block.content) for block in content or ())


def _count_any(value: Any) -> int:
    """The characters of what a tool has said: a text, or blocks, which may hold others; a body's depth is bounded."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(_count_any, value))
    return _count_any(value.get("text")) + _count_any(value.get("content")) if isinstance(value, dict) else 0


def count_rerank(request: shapes.Rerank) -> int:
    if _is_blank(request.query):
        raise blank("query")
    return len(request.query) + sum(
        len(document) if isinstance(document, str) else sum(len(bytes(text)) for text in document.values())
        for document in request.documents
    )


def count_nothing(request: shapes.Unknown) -> int:
    return 0


def is_null(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:4]) == b"null"


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def blank(path: str) -> GatewayError:
    return GatewayError(1214, f"{path} must not be empty or blank.", param=path)


COUNT: dict[type[Any], Callable[[Any], int]] = {
    shapes.Chat: count_chat,
    shapes.Completion: count_completion,
    shapes.Embedding: count_embedding,
    shapes.Anthropic: count_anthropic,
    shapes.Response: count_response,
    shapes.Rerank: count_rerank,
    shapes.Unknown: count_nothing,
}

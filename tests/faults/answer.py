"""What a well-behaved OpenAI-style server says: heads, chunks, completions. The faults bend these."""

import msgspec

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
WORDS = ("one", " two", " three")
DONE = b"data: [DONE]\n\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    """A complete response with a Content-Length. `extra` is header lines, each ended by CRLF."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode("latin-1") + body


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked coding (RFC 9112, 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def completion(model: object = "m") -> bytes:
    """The body of a chat completion of three tokens."""
    message = {"role": "assistant", "content": "".join(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return msgspec.json.encode(
        {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": USAGE}
    )


def event(text: str, model: object = "m") -> bytes:
    """One SSE event holding one piece of a chat completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    piece = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: " + msgspec.json.encode(piece) + b"\n\n"


def usage_event(model: object = "m") -> bytes:
    """The event that `stream_options.include_usage` asks for: no choices, only usage."""
    piece = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [], "usage": USAGE}
    return b"data: " + msgspec.json.encode(piece) + b"\n\n"

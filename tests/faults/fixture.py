"""Event streams to be relayed byte for byte, each awkward in one way (WHATWG HTML, 9.2.6)."""

import msgspec

from tests.faults.answer import event


class Fixture(msgspec.Struct, frozen=True):
    body: bytes
    split: int  # bytes per chunk


_SMILE = 'data: {"choices":[{"delta":{"content":"\U0001f600é"}}]}\n\ndata: [DONE]\n\n'.encode()

FIXTURES = {
    "plain": Fixture(event("one") + b"data: [DONE]\n\n", 10_000),
    "crlf": Fixture(event("one").replace(b"\n", b"\r\n") + b"data: [DONE]\r\n\r\n", 10_000),
    "crlf-split": Fixture(event("one").replace(b"\n", b"\r\n") + b"data: [DONE]\r\n\r\n", 1),
    "cr-only": Fixture(event("one").replace(b"\n", b"\r") + b"data: [DONE]\r\r", 10_000),
    "utf8-split": Fixture(_SMILE, 1),
    "utf8-bad": Fixture(b'data: {"text":"\xff\xfe"}\n\ndata: [DONE]\n\n', 10_000),
    "bom": Fixture(b"\xef\xbb\xbf" + event("one") + b"data: [DONE]\n\n", 10_000),
    "comments": Fixture(b": ping\n\n: ping\n\n" + event("one") + b":\n\ndata: [DONE]\n\n", 7),
    "multi-line": Fixture(b'data: {"a":\ndata: 1}\n\ndata: [DONE]\n\n', 10_000),
    "named": Fixture(b"event: message\nid: 1\nretry: 10\n" + event("one") + b"event: ping\n\ndata: [DONE]\n\n", 10_000),
    "no-space": Fixture(b'data:{"a":1}\n\ndata:[DONE]\n\n', 10_000),
    "no-colon": Fixture(b"data\n\n" + event("one") + b"data: [DONE]\n\n", 10_000),
    "no-end": Fixture(event("one") + b"data: [DONE]", 10_000),
    "after-done": Fixture(event("one") + b"data: [DONE]\n\n" + event("late"), 10_000),
    "long-line": Fixture(event("a" * 1_000_000) + b"data: [DONE]\n\n", 16_384),
    "many-lines": Fixture(b"data: {}\n\n" * 20_000 + b"data: [DONE]\n\n", 16_384),
    "no-newline": Fixture(b"data: " + b"a" * 1_000_000, 16_384),
    "nul": Fixture(b'data: {"a":"\x00"}\n\ndata: [DONE]\n\n', 10_000),
    "json-error": Fixture(b'{"error":{"message":"no","type":"server_error"}}', 10_000),
    "html": Fixture(b"<!doctype html><title>Sign in</title>\n", 10_000),
    "empty": Fixture(b"", 1),
}

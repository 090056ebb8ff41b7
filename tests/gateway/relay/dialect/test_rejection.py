"""Errors in the shapes in which model servers were seen to send them, and what the client gets instead."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.relay.dialect.kind import CHAT, EMBEDDINGS, MESSAGES, RESPONSES
from gateway.relay.dialect.rejection import clean, make_even, read_fault

GOOD = [
    {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "context_length_exceeded"}},
    {"error": {"message": "no", "type": "server_error"}},
    {"error": {"message": "Invalid URL (POST /v1/chat/complete)", "type": "invalid_request_error", "extra": [1]}},
    {
        "error": {"message": "see https://a.example/docs/errors/1", "type": "x", "param": "model", "code": None},
        "more": 1,
    },
]
ANTHROPIC = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
PYDANTIC = [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required", "input": {"secret": "x"}},
            {"type": "int_parsing", "loc": ["body", "n"], "msg": "Input should be a valid integer"}]  # fmt: skip
CONTEXT = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."

Told = tuple[str, str, str | None, str | None]  # message, type, code, param

SHAPES: list[tuple[int, Any, Told]] = [
    # mlx_lm.server, TGI, Ollama
    (404, {"error": "model 'x' not found"}, ("model 'x' not found", "invalid_request_error", "upstream_error", None)),
    (422, {"error": "bad", "error_type": "validation"}, ("bad", "invalid_request_error", "upstream_error", None)),
    # FastAPI
    (404, {"detail": "Not Found"}, ("Not Found", "invalid_request_error", "upstream_error", None)),
    (401, {"detail": "Invalid API key"}, ("Invalid API key", "authentication_error", "upstream_error", None)),
    (422, {"detail": PYDANTIC}, ("messages: Field required; n: Input should be a valid integer",
                                 "invalid_request_error", "upstream_error", "messages")),
    # llama-server
    (400, {"error": {"code": 400, "message": "wrong", "type": "invalid_request_error"}},
     ("wrong", "invalid_request_error", "upstream_error", None)),
    (400, {"error": {"code": 400, "message": "the request exceeds the available context size",
                     "type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}},
     ("the request exceeds the available context size", "invalid_request_error", "context_length_exceeded", None)),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
     ("Loading model", "server_error", "upstream_error", None)),
    # vLLM, sglang
    (400, {"object": "error", "message": CONTEXT, "type": "BadRequestError", "param": "messages", "code": 400},
     (CONTEXT, "invalid_request_error", "context_length_exceeded", "messages")),
    (404, {"error": {"message": "no such model", "type": "NotFoundError", "param": "model", "code": 404}},
     ("no such model", "invalid_request_error", "upstream_error", "model")),
    # Cohere; Google; RFC 9457
    (429, {"message": "trial key limit"}, ("trial key limit", "rate_limit_error", "upstream_error", None)),
    (403, [{"error": {"code": 403, "message": "denied", "status": "PERMISSION_DENIED"}}],
     ("denied", "permission_error", "upstream_error", None)),
    (500, {"type": "about:blank", "title": "Oops", "status": 500}, ("Oops", "server_error", "upstream_error", None)),
    (400, {"errors": ["first", "second"]}, ("first; second", "invalid_request_error", "upstream_error", None)),
    # no JSON, or none that says anything
    (500, b"Internal Server Error", ("Internal Server Error", "server_error", "upstream_error", None)),
    (502, b"<html>\r\n<head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
     ("502 Bad Gateway", "server_error", "upstream_error", None)),
    (500, b"<h1>Server Error &amp; more</h1>", ("Server Error & more", "server_error", "upstream_error", None)),
    (504, b"", ("The model server answered 504 Gateway Timeout.", "server_error", "upstream_error", None)),
    (599, b"{}", ("The model server answered 599.", "server_error", "upstream_error", None)),
    (500, b"\x1f\x8b\x00\xff", ("The model server answered 500 Internal Server Error.", "server_error",
                                "upstream_error", None)),
    (500, b'data: {"error":"in an event"}\n\n', ("in an event", "server_error", "upstream_error", None)),
    (500, {"error": None}, ("The model server answered 500 Internal Server Error.", "server_error", "upstream_error",
                            None)),
]  # fmt: skip


def encode(said: Any) -> bytes:
    return said if isinstance(said, bytes) else json.dumps(said).encode()


@pytest.mark.parametrize(("status", "said", "told"), SHAPES)
def test_every_shape_becomes_the_envelope(status: int, said: Any, told: Told) -> None:
    even = make_even(CHAT, status, encode(said), "rid")
    assert even is not None
    error = json.loads(even)["error"]
    assert (error["message"], error["type"], error["code"], error["param"]) == told
    assert (error["number"], error["category"]) == (1715, "UPSTREAM")
    assert json.loads(even)["meta"]["request_id"] == "rid"


@pytest.mark.parametrize(("status", "said", "told"), SHAPES)
def test_every_shape_becomes_anthropics(status: int, said: Any, told: Told) -> None:
    even = make_even(MESSAGES, status, encode(said), "rid")
    assert even is not None
    whole = json.loads(even)
    assert (whole["type"], whole["error"]["message"], whole["request_id"]) == ("error", told[0], "rid")
    assert whole["error"]["type"].endswith("_error") and whole["error"]["type"] != "server_error"


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, EMBEDDINGS])
@pytest.mark.parametrize("said", GOOD)
def test_a_good_error_goes_on_unchanged(dialect: Any, said: Any) -> None:
    assert make_even(dialect, 400, encode(said), "rid") is None
    assert make_even(MESSAGES, 400, encode(said), "rid") is not None


def test_anthropics_own_error_goes_on_unchanged() -> None:
    assert make_even(MESSAGES, 529, encode(ANTHROPIC), "rid") is None


def test_what_a_server_counted_is_kept() -> None:
    fault = read_fault(400, encode(SHAPES[6][1]))
    assert fault.is_context and fault.details == {"n_prompt_tokens": 5000, "n_ctx": 4096}
    assert not read_fault(500, encode({"error": CONTEXT})).is_context  # the server failed, for whatever reason


LEAKS = [
    '1 validation error for Chat\nmessages\n  File "/opt/venv/lib/python3.11/site-packages/app.py", line 7',
    "Traceback (most recent call last):\n  File \"/srv/app/run.py\", line 1, in <module>\nValueError: bad shape",
    "failed to load ~/models/qwen/q4.gguf", "cannot open '../secret/key.pem'", r"not found: C:\Users\me\model.bin",
    "cp /a/b /c/d", "(/home/x/y.py:12)",
]  # fmt: skip


@pytest.mark.parametrize("text", LEAKS)
@pytest.mark.parametrize("shape", ["{}", '{{"error":{}}}', '{{"error":{{"message":{},"type":"server_error"}}}}'])
def test_no_path_of_a_server_is_told(text: str, shape: str) -> None:
    even = make_even(CHAT, 500, shape.format(json.dumps(text)).encode(), "rid")
    assert even is not None
    message = json.loads(even)["error"]["message"]
    for secret in ("/opt", "/srv", "models/", "secret/", "Users", "/a/b", "/c/d", "/home", "\n"):
        assert secret not in message
    assert message


def test_of_a_trace_the_last_line_is_told() -> None:
    assert clean(LEAKS[1]) == "ValueError: bad shape"


@pytest.mark.parametrize("text", ["5 tokens/s and/or 3/4", "see https://a.b/c/d", "POST /v1/models/x", "a / b", "/x"])
def test_what_is_no_path_of_a_file_stays(text: str) -> None:
    assert clean(text) == text


def test_frames_of_a_trace_are_not_told() -> None:
    """llama-cpp-python's way of telling a client's mistake."""
    assert clean('1 validation error: x\n\n  File "/opt/app.py", line 3, in f\n  POST /v1/x') == "1 validation error: x"


def test_a_message_is_one_bounded_line() -> None:
    assert clean("a\r\n\tb\x00\x1b[31m") == "a b [31m"
    assert len(clean("x" * 1_000_000)) == 500


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["error", "message", "detail", "type", "code", "param", "loc", "msg", "errors"]),
                      inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(documents, st.sampled_from([CHAT, MESSAGES]), st.sampled_from([400, 404, 429, 500, 503, 799]))
def test_nothing_that_a_server_says_is_too_strange(said: Any, dialect: Any, status: int) -> None:
    check(make_even(dialect, status, encode(said), "rid"))


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(said: bytes) -> None:
    check(make_even(CHAT, 500, said, "rid"))


def check(even: bytes | None) -> None:
    if even is not None:
        error = msgspec.json.decode(even)["error"]
        assert isinstance(error["message"], str) and error["message"].strip()
        assert isinstance(error["type"], str) and error["number"] == 1715


@pytest.mark.parametrize("piece", ["/", "/a", "~/", "../", "a/", ":\\", "<title>", "<", "\n "])
def test_no_error_takes_long(piece: str) -> None:
    began = time.process_time()
    make_even(CHAT, 500, (piece * 400_000).encode(), "rid")
    make_even(CHAT, 500, json.dumps({"error": {"message": piece * 400_000, "type": "x"}}).encode(), "rid")
    assert time.process_time() - began < 2.5

"""HTTP as it is rarely used: Expect, HEAD, HTTP/1.0, chunked uploads."""

import json
import time
from typing import Any

import pytest

from tests.e2e.scene import KEYS
from tests.e2e.wire import CHAT, Line, ask, ask_raw, bearer, encode, row_of
from tests.faults.origin import Origin
from tests.harness import Gateway

KEY = KEYS["second"]
AUTHORIZED = f"Authorization: Bearer {KEY}"
BODY = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hello"}]}).encode()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# --- Expect (RFC 9110, 10.1.1)


def _expect(line: Line, path: str, key: str, length: int) -> None:
    line.send(encode("POST", path, bearer(key, **{"Content-Length": str(length), "Expect": "100-continue"}))[0])


def test_a_body_that_waits_is_invited(site: Gateway) -> None:
    with Line(site.address) as line:
        _expect(line, CHAT, KEY, len(BODY))
        assert line.take(len(CONTINUE)) == CONTINUE
        line.send(BODY)
        answer = line.read("POST")
        assert answer.json["choices"][0]["message"]["content"] == "hello"
        assert line.ask("GET", "/echo/x").status == 200


def test_a_body_that_is_passed_on_is_invited_too(site: Gateway) -> None:
    with Line(site.address) as line:
        _expect(line, "/echo/x", KEY, 5)
        assert line.take(len(CONTINUE)) == CONTINUE
        line.send(b"hello")
        answer = line.read("POST")
    assert answer.json["body"] == "hello"
    assert "expect" not in {name.lower() for name, _ in answer.json["headers"]}


@pytest.mark.parametrize(
    ("path", "key", "length", "number"),
    [(CHAT, "unknown-key", 10, 1002), ("/echo/small", KEY, 200_000, 1208), ("/nothing", KEY, 10, 1301)],
)
def test_a_request_that_is_refused_never_uploads(site: Gateway, path: str, key: str, length: int, number: int) -> None:
    with Line(site.address) as line:
        _expect(line, path, key, length)
        answer = line.read("POST")
        assert (answer.error, answer.get("connection")) == (number, "close")
        assert line.drain() == b""


def test_a_body_is_not_awaited_to_refuse_its_key(site: Gateway) -> None:
    with Line(site.address) as line:
        line.send(encode("POST", CHAT, bearer("unknown-key", **{"Content-Length": "9000000"}))[0])
        answer = line.read("POST")
    assert (answer.error, answer.first < 3) == (1002, True)


def test_another_expectation_cannot_be_met(site: Gateway) -> None:
    answer = ask(site, "POST", CHAT, bearer(KEY, Expect="a-miracle"), BODY)
    assert (answer.status, answer.error) == (417, 1217)


# --- HEAD, HTTP/1.0


@pytest.mark.parametrize("path", ["/v1/models", "/echo/x", "/nothing", "/fault/ok", "/fault/hang-is-not-here"])
def test_head_is_get_without_a_body(site: Gateway, path: str) -> None:
    with Line(site.address) as line:
        for _ in range(2):
            head = line.ask("HEAD", path, bearer(KEY))
            whole = line.ask("GET", path, bearer(KEY))
            assert (head.status, head.body, head.is_cut) == (whole.status, b"", False)
            assert head.get("content-type") == whole.get("content-type")


def test_head_where_only_post_is_taken(site: Gateway) -> None:
    answer = ask(site, "HEAD", CHAT, bearer(KEY))
    assert (answer.status, answer.body, answer.get("x-tollkeeper-error")) == (405, b"", "1207")


def test_http_1_0(site: Gateway) -> None:
    with Line(site.address) as line:
        line.send(b"GET /echo/x HTTP/1.0\r\n\r\n")
        answer = line.read()
        assert (answer.status, answer.json["path"], answer.get("transfer-encoding")) == (200, "/echo/x", None)
        assert line.drain() == b""
    with Line(site.address) as line:
        for _ in range(2):
            line.send(b"GET /echo/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = line.read()
            assert (answer.status, answer.get("connection")) == (200, "keep-alive")


def test_a_stream_for_http_1_0_ends_with_its_connection(site: Gateway) -> None:
    body = BODY[:-1] + b',"stream":true}'
    request = f"POST {CHAT} HTTP/1.0\r\n{AUTHORIZED}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with Line(site.address) as line:
        line.send(request)
        head, _, events = line.drain().partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert events.startswith(b"data: {")
    assert events.endswith(b"data: [DONE]\n\n")


def test_a_broken_stream_for_http_1_0_is_reset(site: Gateway) -> None:
    body = b'{"model":"origin","messages":[],"stream":true}'
    head = f"POST {CHAT} HTTP/1.0\r\n{AUTHORIZED}\r\nX-Fault: fin-mid\r\nContent-Length: {len(body)}\r\n\r\n"
    with Line(site.address) as line:
        line.send(head.encode() + body)
        received = b""
        with pytest.raises(ConnectionResetError):
            while data := line.socket.recv(65_536):
                received += data
    assert b'"number":1705' in received


# --- uploads


def _chunks(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [60, 5000, 1_000_000])
def test_chunked_uploads(site: Gateway, size: int) -> None:
    messages: Any = [{"role": "user", "content": "x" * 50_000}]
    asked = json.dumps({"model": "echo", "messages": messages}).encode()
    head = f"POST %s HTTP/1.1\nHost: test\n{AUTHORIZED}\nTransfer-Encoding: chunked"
    answer = ask_raw(site, head % CHAT, _chunks(asked, size))
    assert answer.json["choices"][0]["message"]["content"] == "x" * 50_000
    answer = ask_raw(site, head % "/echo/x", _chunks(asked, size))
    assert answer.json["body"] == asked.decode()


def test_an_upload_is_passed_on_as_it_comes(site: Gateway, origin: Origin) -> None:
    with Line(site.address) as line:
        data, request_id = encode("POST", "/fault/x", bearer(KEY, **{"Transfer-Encoding": "chunked"}))
        line.send(data)
        for _ in range(3):
            line.send(b"5\r\nhello\r\n")
            time.sleep(0.05)
        line.send(b"0\r\n\r\n")
        assert line.read("POST").status == 200
    (entry,) = [entry for entry in origin.entries() if request_id in entry.head]
    assert entry.body == "hello" * 3
    assert "transfer-encoding: chunked" in entry.head.lower()
    assert row_of(site, request_id)["outcome"] == "complete"


def test_an_upload_that_is_refused_early(site: Gateway) -> None:
    with Line(site.address) as line:
        answer = line.ask("POST", "/fault/early", bearer(KEY), b"x" * 2_000_000)
    assert answer.status == 413
    assert row_of(site, answer.request_id)["outcome"] == "upstream_rejected"

"""Which bodies are taken: sizes, encodings, JSON, and what they may cost (S38-S41)."""

import gzip
import time
from typing import Any

import psutil
import pytest

from tests.e2e.scene import KEYS
from tests.e2e.wire import CHAT, Answer, ask, ask_raw, bearer, row_of
from tests.harness import Gateway

KEY = KEYS["second"]


def _chat(site: Gateway, body: bytes, path: str = CHAT, **headers: str) -> Answer:
    return ask(site, "POST", path, bearer(KEY, **headers), body)


def test_s38_compressed_requests_are_refused(site: Gateway) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    answer = _chat(site, bomb, **{"Content-Encoding": "gzip"})
    assert (answer.status, answer.error) == (415, 1215)
    assert row_of(site, answer.request_id)["units"] == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_s38_sizes_are_bounded_on_the_way(site: Gateway, chunked: bool) -> None:
    body = b"x" * 100_001
    head = f"POST /echo/small HTTP/1.1\nHost: test\nAuthorization: Bearer {KEY}\n"
    if chunked:
        answer = ask_raw(site, head + "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    else:
        answer = ask_raw(site, head + f"Content-Length: {len(body)}", body)
    assert (answer.status, answer.error) == (413, 1208)
    assert ask(site, "POST", "/echo/small", bearer(KEY), body[:-1]).status == 200


def _nested(depth: int) -> bytes:
    return b'{"model":"echo","messages":[],"x":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b"", 1210), (b"{", 1210), (b"[]", 1210), (b'"echo"', 1210), (b"null", 1210), (b"{}", 1213),
        (b'{"model":"echo",}', 1210), (b'{"model":"echo"} x', 1210), (b'{"model":"echo","x":NaN}', 1210),
        (b'{"model":"echo","x":Infinity}', 1210), (b'{"model":"echo","x":"\xff"}', 1210),
        (b'{"model":"echo","x":"\\ud800"}', 1210), (b'{"model":"echo","x":01}', 1210),
        (b'{"model":"echo","x":"\n"}', 1210), (b'{"model":"cheap","model":"expensive"}', 1211),
        (b'{"model":"echo","stream":true,"stream":false}', 1211), (b'{"model":"echo","\\u006dodel":"x"}', 1211),
        (b'{"model":1}', 1214), (b'{"model":null}', 1214), (b'{"model":["echo"]}', 1214), (b'{"model":""}', 1214),
        (b'{"model":"../../etc/passwd"}', 1214), (b'{"model":"/abs"}', 1214), (b'{"model":"a\\u0000b"}', 1214),
        (b'{"model":"--host=0.0.0.0"}', 1214), (b'{"model":"' + b"x" * 10_000 + b'"}', 1214),
        (b'{"model":"echo","stream":"yes"}', 1214), (_nested(64), 1212), (_nested(100_000), 1212),
        (b'{"model":"echo",' + b",".join(b'"k%d":0' % n for n in range(10_000)) + b"}", 1210),
    ],
)  # fmt: skip
def test_s39_s40_bodies_that_are_refused(site: Gateway, body: bytes, number: int) -> None:
    answer = _chat(site, body)
    assert (answer.status, answer.error) == (400, number)
    row = row_of(site, answer.request_id)
    assert (row["outcome"], row["units"], row["error"]) == ("refused", 0, number)


def test_s39_what_is_within_bounds_passes(site: Gateway) -> None:
    messages = b'[{"role":"user","content":"\\ud83d\\ude00 {[\\"]}"}]'
    odd = b'{"model":"echo","messages":%b,"seed":123456789012345678901}' % messages
    assert _chat(site, odd).json["choices"][0]["message"]["content"] == '\U0001f600 {["]}'
    assert _chat(site, _nested(62)).status == 200


def test_s41_a_small_body_does_not_become_much(site: Gateway) -> None:
    process = psutil.Process(site.workers()[0])
    bodies = [
        b'{"model":"echo","messages":[' + b"{}," * 1_000_000 + b"{}]}",
        b'{"model":"echo",' + b",".join(b'"k%d":0' % n for n in range(100_000)) + b"}",
        b'{"model":"echo","x":"' + b"\\u00e9" * 500_000 + b'"}',
        b'{"model":"echo","x":' + b'"[",' * 10 + b"}" + b"[" * 3_000_000,
    ]
    for body in bodies:
        before, spent = process.memory_info().rss, _cpu(process)
        answer = _chat(site, body)
        assert answer.status in (200, 400)
        assert process.memory_info().rss - before < 32 * len(body)
        assert _cpu(process) - spent < 0.8


def test_s41_tiny_chunks(site: Gateway) -> None:
    process = psutil.Process(site.workers()[0])
    head = f"POST {CHAT} HTTP/1.1\nHost: test\nAuthorization: Bearer {KEY}\nTransfer-Encoding: chunked"
    spent, began = _cpu(process), time.monotonic()
    answer = ask_raw(site, head, b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
    assert 400 <= answer.status < 500
    assert _cpu(process) - spent < 0.5
    assert time.monotonic() - began < 2


def _cpu(process: psutil.Process) -> float:
    times: Any = process.cpu_times()
    return float(times.user + times.system)

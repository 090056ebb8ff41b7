"""The fault origin misbehaves as its names say, judged over raw sockets."""

import base64
import hashlib
import re
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.address import blackhole, refused
from tests.faults.catalogue import FAULTS
from tests.faults.fixture import FIXTURES
from tests.faults.origin import Connection, Origin


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as running:
        yield running


def _connect(origin: Origin) -> socket.socket:
    return socket.create_connection(("127.0.0.1", origin.port), timeout=5)


def _ask(fault: str, body: bytes = b"{}", more: str = "") -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: o\r\nConnection: close\r\nx-fault: {fault}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _read_all(link: socket.socket, patience: float = 5) -> bytes:
    """What comes until FIN, or until nothing came for `patience` seconds, or for three times as long."""
    link.settimeout(patience)
    data, deadline = b"", time.monotonic() + 3 * patience
    try:
        while time.monotonic() < deadline and (piece := link.recv(1_000_000)):
            data += piece
    except TimeoutError:
        pass
    return data


def _exchange(origin: Origin, fault: str, **options: str) -> bytes:
    with _connect(origin) as link:
        link.sendall(_ask(fault, **options))  # type: ignore[arg-type]
        return _read_all(link, 0.3)


def _dechunk(data: bytes) -> bytes:
    body, rest = b"", data.split(b"\r\n\r\n", 1)[1]
    while size := int(rest.split(b"\r\n", 1)[0], 16):
        start = rest.index(b"\r\n") + 2
        body, rest = body + rest[start : start + size], rest[start + size + 2 :]
    return body


def _last_connection(origin: Origin, fault: str) -> Connection:
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        found = [seen for seen in origin.connections() if fault in seen.faults]
        if found and found[-1].closed:
            return found[-1]
        time.sleep(0.01)
    raise AssertionError(f"the origin saw no closed connection with {fault}")


@pytest.mark.parametrize("fault", ["rst-head", "rst-midhead", "rst-mid"])
def test_resets_are_real(origin: Origin, fault: str) -> None:
    with _connect(origin) as link, pytest.raises(ConnectionResetError):
        link.sendall(_ask(fault))
        _read_all(link)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("fin-head", rb"^$"),
        ("fin-mid", rb"one.*\n\r\n$"),
        ("cl-short", rb"Content-Length: 100\r\n\r\n.{5}$"),
        ("cl-long", rb"\{\}HTTP/1.1 200 OK.*X-Evil: 1.*evil$"),
        ("garbage", rb"^\x00\xff"),
        ("dup-te", rb"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        ("two-lengths", rb"Content-Length: 2\r\nContent-Length: 3"),
        ("bad-chunk", rb"\r\nzz\r\n$"),
        ("bighead", rb"X-Big: a{100000}\r\n"),
        ("manyheads", rb"X-9999: 1\r\n"),
        ("http10", rb"^HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\{"),
        ("interim", rb"^HTTP/1.1 103 .*HTTP/1.1 102 .*HTTP/1.1 200 "),
        ("trailers", rb"0\r\nX-Sum: 1\r\n.*\r\n\r\n$"),
        ("early", rb"^HTTP/1.1 413 "),
        ("race", rb"^HTTP/1.1 200 OK"),
        ("json-error", rb'200 OK.*\{"error"'),
        ("html", rb"200 OK.*text/html"),
        ("redirect; to=http://x/", rb"307.*Location: http://x/\r\n"),
        ("hostile", rb"X-Request-ID: forged"),
        ("empty-stream", rb"event-stream.*\r\n\r\n0\r\n\r\n$"),
        ("error-event", rb'one.*"error".*\r\n0\r\n\r\n$'),
        ("no-done", rb"one.*\r\n0\r\n\r\n$"),
        ("5xx; p=1; status=503 Sick", rb"^HTTP/1.1 503 Sick"),
        ("5xx; p=0", rb"^HTTP/1.1 200"),
        ("sse-fast; count=3; interval=0.001", rb" 0.* 1.* 2.*DONE.*0\r\n\r\n$"),
        ("drip; interval=0.01", rb"1\r\na\r\n1\r\na\r\n"),
        ("sse-idle", rb"one.*\n\r\n$"),
        ("hang", rb"^$"),
        ("slow; delay=0.05", rb"^HTTP/1.1 200"),
        ("ok", rb'"usage"'),
        ("recorded; name=rerank", rb'HTTP/1.1 200 OK.*"relevance_score"'),
        ("recorded; name=chat; stream=1; old=1", rb"HTTP/1.0 200 OK.*data: \[DONE\]\n\n$"),
        ("recorded; name=messages; stream=1; keep=1", rb"event: message_start[^}]*(?!message_stop).*0\r\n\r\n$"),
        ("refusal; status=422; shape=validation", rb'422 Error.*"loc"'),
    ],
)
def test_says_what_its_name_promises(origin: Origin, fault: str, says: bytes) -> None:
    assert re.search(says, _exchange(origin, fault), re.DOTALL)


def test_every_fault_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in FAULTS if f'"{name}' not in source] == []


def test_bomb_holds_200_megabytes(origin: Origin) -> None:
    with _connect(origin) as link:
        link.sendall(_ask("bomb"))
        packed = _read_all(link, 3).split(b"\r\n\r\n", 1)[1]
    unpacker, size = zlib.decompressobj(wbits=31), 0
    while packed:
        size += len(unpacker.decompress(packed, 10_000_000))
        packed = unpacker.unconsumed_tail
    assert size == 200_000_000


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures_are_byte_exact(origin: Origin, name: str) -> None:
    assert _dechunk(_exchange(origin, f"fixture; name={name}")) == FIXTURES[name].body


def test_streams_with_usage_when_asked(origin: Origin) -> None:
    body = b'{"model": "x", "stream": true, "stream_options": {"include_usage": true}}'
    answer = _exchange(origin, "ok", body=body)  # type: ignore[arg-type]
    assert b'"model":"x"' in answer and b'"usage"' in answer and answer.endswith(b"data: [DONE]\n\n")


def test_flood_waits_for_its_reader(origin: Origin) -> None:
    with _connect(origin) as link:
        link.sendall(_ask("flood; size=3000000"))
        time.sleep(0.1)
        assert _read_all(link, 0.3).endswith(bytes(1000))


def test_upgrade_accepts_and_echoes(origin: Origin) -> None:
    key = base64.b64encode(bytes(16)).decode()
    expected = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
    with _connect(origin) as link:
        link.sendall(_ask("upgrade", b"", f"Sec-WebSocket-Key: {key}\r\n") + b"echo")
        answer = _read_all(link, 0.3)
    assert expected in answer and answer.endswith(b"\r\n\r\necho")


def test_stale_answers_once_and_resets_the_second_request(origin: Origin) -> None:
    asked = _ask("stale").replace(b"Connection: close\r\n", b"")
    with _connect(origin) as link:
        link.sendall(asked)
        assert _read_all(link, 0.2).startswith(b"HTTP/1.1 200")
        link.sendall(asked)
        with pytest.raises(ConnectionResetError):
            _read_all(link)


def test_fault_by_body_and_by_path(origin: Origin) -> None:
    with _connect(origin) as link:
        link.sendall(b'POST / HTTP/1.1\r\nContent-Length: 17\r\n\r\n{"fault": "html"}')
        link.sendall(b"GET /5xx?status=503+Sick HTTP/1.1\r\n\r\n")
        answer = _read_all(link, 0.3)
    assert b"<!doctype" in answer and b"503 Sick" in answer


def test_reads_chunked_bodies_and_keeps_the_log(origin: Origin) -> None:
    with _connect(origin) as link:
        link.sendall(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        link.sendall(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n")
        assert _read_all(link, 0.3).startswith(b"HTTP/1.1 200")
    entry = origin.entries()[-1]
    assert (entry.head.split("\r\n")[0], entry.body, entry.fault) == ("POST /x HTTP/1.1", "abcde", "ok")


@pytest.mark.parametrize("fault", ["hang", "sse-idle", "sse-fast", "flood"])
def test_tells_when_and_how_the_peer_left(origin: Origin, fault: str) -> None:
    with _connect(origin) as link:
        link.sendall(_ask(fault))
        time.sleep(0.05)
        left = time.monotonic()
    seen = _last_connection(origin, fault)
    assert seen.closed is not None and left <= seen.closed < left + 1
    assert seen.how == ("fin" if fault == "hang" else seen.how) != "origin"


def test_refused_refuses_and_blackhole_is_silent() -> None:
    with refused() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    with blackhole() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), timeout=0.3)


def test_runs_as_a_process() -> None:
    command = [sys.executable, "-m", "tests.faults.origin", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), timeout=5) as link:
                link.sendall(_ask("ok"))
                assert _read_all(link, 0.3).startswith(b"HTTP/1.1 200")
        finally:
            process.terminate()

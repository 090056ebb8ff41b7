"""The malformed requests and the faults of a model server, through a real gateway process."""

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import CATALOGUE
from tests.bench.gateway import await_ready
from tests.bench.place import free_port
from tests.faults.address import blackhole, refused
from tests.faults.malformed import Case, Template, generate
from tests.faults.origin import Origin

KEY = b"tk_test_0123456789abcdef"
TEMPLATE = Template(key=KEY, model=b"m")
STATUSES = {entry.status for entry in CATALOGUE.values()}
CLOSED = b""


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a gateway with short timeouts before the fault origin."""
    folder = tmp_path_factory.mktemp("gateway")
    port, status = free_port(), free_port()
    with refused() as nobody, blackhole() as nowhere:
        servers = {"m": origin.port, "refused": nobody, "blackhole": nowhere}
        config = {
            "listen": {"proxy": f"127.0.0.1:{port}", "status": f"127.0.0.1:{status}", "admin": ""},
            "workers": 1,
            "limits": {"failed_logins": "unlimited"},
            "state": {"directory": str(folder / "var")},
            "timeouts": {"connect": 1, "first_byte": 1, "idle": 1, "total": 4},
            "tiers": {"test": {"rate": "unlimited"}},
            "consumers": {"test": {"tier": "test", "keys": [{"sha256": hashlib.sha256(KEY).hexdigest()}]}},
            "backends": {n: {"http": {"endpoints": [{"url": f"http://127.0.0.1:{p}"}]}} for n, p in servers.items()},
            "models": {name: {"backend": name} for name in servers},
            "plugins": [{"cors": {"origins": ["https://app.example"]}}, {"key_auth": {}}, {"quota": {}}],
            "routes": [{"path": "/v1/chat/completions"}],
        }
        path = folder / "gateway.yaml"
        path.write_text(json.dumps(config))
        command = [str(Path(sys.executable).parent / "tollkeeper"), "serve", str(path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                await_ready(status, 20)
                yield port
            finally:
                process.terminate()


def _exchange(port: int, data: bytes, patience: float = 6) -> bytes:
    """What the gateway says until it closes, or until the head is whole; CLOSED when it says nothing."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as link:
        try:
            link.sendall(data)
            while b"\r\n\r\n" not in answer and (piece := link.recv(65_536)):
                answer += piece
        except ConnectionError:
            pass
    return answer


def _read_all(port: int, data: bytes) -> bytes:
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=6) as link:
        link.sendall(data)
        try:
            while piece := link.recv(65_536):
                answer += piece
        except ConnectionError:
            pass
    return answer


def _status(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_the_unchanged_request_is_answered(gateway: int) -> None:
    assert _status(_exchange(gateway, TEMPLATE.send())) == 200


def test_no_malformed_request_passes_or_breaks_the_gateway(gateway: int, origin: Origin) -> None:
    before = len(origin.entries())
    wrong = {case.name: answer[:15] for case in generate(TEMPLATE) if not _is_refused(answer := _say(gateway, case))}
    assert wrong == {}
    assert len(origin.entries()) == before


def _say(port: int, case: Case) -> bytes:
    return _exchange(port, case.data, 3)


def _is_refused(answer: bytes) -> bool:
    status = _status(answer)
    return answer == CLOSED or (400 <= status < 500 and status in STATUSES)


def _ask(fault: str, stream: bool = False, model: bytes = b"m") -> bytes:
    body = TEMPLATE.body.replace(b'"model":"m"', b'"model":"%b"' % model)
    body = body.replace(b'"stream":false', b'"stream":true') if stream else body
    return TEMPLATE.send(body, extra=f"x-fault: {fault}\r\nConnection: close\r\n".encode())


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("rst-head", 502), ("fin-head", 502), ("rst-midhead", 502), ("cl-short", 502), ("garbage", 502),
        ("dup-te", 502), ("two-lengths", 502), ("bighead", 502), ("manyheads", 502), ("hang", 504), ("http10", 200),
        ("interim", 200),        ("trailers", 200), ("race", 200), ("cl-long", 200), ("redirect", 307), ("early", 413),
        ("slow; delay=0.2", 200),
    ],
)  # fmt: skip
def test_faults_before_the_first_byte_have_a_status(gateway: int, fault: str, status: int) -> None:
    began = time.monotonic()
    answer = _exchange(gateway, _ask(fault))
    assert _status(answer) == status
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(("model", "status"), [(b"refused", 502), (b"blackhole", 504)])
def test_servers_that_cannot_be_reached(gateway: int, model: bytes, status: int) -> None:
    began = time.monotonic()
    assert _status(_exchange(gateway, _ask("ok", model=model))) == status
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("fault", ["rst-mid", "fin-mid", "sse-idle", "bad-chunk", "drip; interval=0.2"])
def test_a_broken_stream_never_ends_well(gateway: int, fault: str) -> None:
    """One event first, then an error in-band, no [DONE] and no last chunk (F05, F07, F08)."""
    answer = _read_all(gateway, _ask(fault, stream=True))
    assert _status(answer) == 200
    assert b'"error"' in answer
    assert b"[DONE]" not in answer and not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("fault", ["hang", "sse-idle", "sse-fast"])
def test_a_client_that_leaves_ends_the_upstream_request(gateway: int, origin: Origin, fault: str) -> None:
    """F44: within a second, however busy or silent the model server is."""
    with socket.create_connection(("127.0.0.1", gateway), timeout=5) as link:
        link.sendall(_ask(fault, stream=True))
        time.sleep(0.2)
        left = time.monotonic()
    deadline = left + 3
    while (seen := origin.connections()[-1]).closed is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert seen.faults[-1] == fault
    assert seen.closed is not None and seen.closed - left < 1.0

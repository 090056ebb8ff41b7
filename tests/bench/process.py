"""Rows 11 and 12: memory after very many requests, and the time from the command to the first answer."""

import http.client
import os
import shutil
import signal
import statistics
import subprocess
import time

from tests.bench import cpu
from tests.bench.figure import Figure, Options
from tests.bench.gateway import serve_command, tollkeeper, workers
from tests.bench.load import drive
from tests.bench.peers import static_upstream
from tests.bench.place import KEY, WORK, free_port

_FEW, _MANY = 10_000, 1_000_000
_ECHO = """
listen: {{proxy: 127.0.0.1:{port}, status: 127.0.0.1:{status}, admin: ""}}
workers: 1
state: {{directory: {folder}}}
tiers: {{bench: {{rate: unlimited}}}}
consumers: {{bench: {{tier: bench, keys: [{{key: {key}}}]}}}}
backends: {{echo: {{echo: {{models: [echo]}}}}}}
models: {{echo: {{backend: echo}}}}
plugins: [key_auth, quota]
routes: [{{path: /v1/chat/completions}}]
"""


def grow_old(options: Options) -> list[Figure]:
    """Row 11. The million requests take about a minute."""
    with static_upstream() as upstream, tollkeeper("old", upstream) as ours:
        worker = workers(ours)[0]
        idle = cpu.resident(worker)
        answered = 0
        while answered < _FEW:
            answered += drive(ours.port, 1).requests
        young = cpu.resident(worker)
        while answered < _MANY:
            answered += drive(ours.port, 10).requests
        old = cpu.resident(worker)
    return [
        Figure(11, "RSS of an idle worker", idle / 1e6, "MB", target="<= 45 MB"),
        Figure(
            11,
            f"RSS of a worker after {answered:,} requests",
            old / 1e6,
            "MB",
            young / 1e6,
            f"after {_FEW:,}",
            "<= 1.05x",
        ),
    ]


def start_up(options: Options) -> list[Figure]:
    """Row 12, with the echo engine and a fresh state directory."""
    taken = statistics.median(_start() for _ in range(options.rounds))
    return [Figure(12, "from `tollkeeper serve` to the first answer", taken, "s", target="<= 1.5 s")]


def _start() -> float:
    folder = WORK / "start"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "gateway.yaml"
    config.write_text(_ECHO.format(port=port, status=free_port(), folder=folder / "var", key=KEY))
    begun = time.perf_counter()
    process = subprocess.Popen(serve_command(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _is_answered(port):
            if process.poll() is not None or time.perf_counter() - begun > 30:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.005)
        return time.perf_counter() - begun
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(15)


def _is_answered(port: int) -> bool:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = b'{"model":"echo","messages":[{"role":"user","content":"hi"}]}'
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        link.request("POST", "/v1/chat/completions", body, headers)
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()

"""Rows 4, 6 and 13: event streams, added latency, very many streams."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.bench import cpu
from tests.bench.figure import Figure, Options, alternate, medians
from tests.bench.gateway import Shape, tollkeeper, workers
from tests.bench.peers import Proxy, envoy_proxy, nginx_proxy, static_upstream
from tests.bench.place import LOAD_CORE, ROOT, free_port, running

STREAMS = 512


@contextmanager
def _ticking(interval: float) -> Iterator[int]:
    """The port of an upstream whose streams tick every `interval` seconds."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tests.bench.streams",
        "upstream",
        "--port",
        str(port),
        "--interval",
        str(interval),
    ]
    with running("ticking", command, port, str(LOAD_CORE)):
        yield port


def _stream(proxy: Proxy, seconds: float, count: int = STREAMS) -> dict[str, float]:
    """CPU microseconds per chunk by role and `all`, `rate` of chunks per second, streams `alive`."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "tests.bench.streams", "client",
               "--port", str(proxy.port), "--count", str(count), "--seconds", str(seconds)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as client:
        assert client.stdout is not None
        if client.stdout.readline() != "ready\n":
            raise RuntimeError(f"{proxy.name}: the streams did not begin")
        before = cpu.seconds_by_role(proxy.pid)
        seen = json.loads(client.stdout.readline())
        after = cpu.seconds_by_role(proxy.pid)
    spent = {name: (after[name] - before.get(name, 0.0)) / max(1, seen["chunks"]) * 1e6 for name in after}
    return spent | {"all": sum(spent.values()), "rate": seen["chunks"] / seconds, "alive": seen["alive"]}


def relay_streams(options: Options) -> list[Figure]:
    """Row 4: 512 streams, a chunk every 20 ms each; we ask for usage and strip it, nginx and Envoy only relay."""
    with ExitStack() as stack:
        upstream = stack.enter_context(_ticking(0.02))
        nginx = stack.enter_context(nginx_proxy(upstream, "off"))
        envoy = stack.enter_context(envoy_proxy(upstream))
        ours = stack.enter_context(tollkeeper("streaming", upstream))
        subjects: dict[str, Callable[[], dict[str, float]]] = {
            "nginx": lambda: _stream(nginx, options.seconds),
            "envoy": lambda: _stream(envoy, options.seconds),
            "ours": lambda: _stream(ours, options.seconds),
        }
        runs = {name: medians(taken) for name, taken in alternate(subjects, options.rounds).items()}
    return [
        Figure(
            4,
            "worker CPU per chunk",
            runs["ours"]["worker"],
            "us",
            runs["nginx"]["all"],
            "nginx, unbuffered",
            "<= 1.1x",
        ),
        Figure(4, "worker CPU per chunk", runs["ours"]["worker"], "us", runs["envoy"]["all"], "Envoy"),
        Figure(
            4,
            "chunks per second that came through",
            runs["ours"]["rate"],
            "/s",
            runs["nginx"]["rate"],
            "nginx, unbuffered",
        ),
    ]


def _wait(port: int, seconds: float) -> dict[str, float]:
    command = [
        "taskset",
        "-c",
        str(LOAD_CORE),
        sys.executable,
        "-m",
        "tests.bench.paced",
        "--port",
        str(port),
        "--seconds",
        str(seconds),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(shown.stdout))


def add_latency(options: Options) -> list[Figure]:
    """Row 6: what a proxy adds to the direct way at 1,000 requests per second, beside what nginx adds."""
    with ExitStack() as stack:
        upstream = stack.enter_context(static_upstream())
        nginx = stack.enter_context(nginx_proxy(upstream))
        ours = stack.enter_context(tollkeeper("latency", upstream))
        subjects: dict[str, Callable[[], dict[str, float]]] = {
            "direct": lambda: _wait(upstream, options.seconds),
            "nginx": lambda: _wait(nginx.port, options.seconds),
            "ours": lambda: _wait(ours.port, options.seconds),
        }
        runs = {name: medians(taken) for name, taken in alternate(subjects, options.rounds).items()}
    figures = []
    for quantile in ("p50", "p99"):
        added, peer = ((runs[name][quantile] - runs["direct"][quantile]) * 1e6 for name in ("ours", "nginx"))
        figures.append(Figure(6, f"added latency at 1,000/s, {quantile}", added, "us", peer, "nginx", "<= 3x"))
    return figures


def hold_streams(options: Options) -> list[Figure]:
    """Row 13: memory of a worker with 10,000 slow streams, or as many as it has descriptors for (two each)."""
    count = min(10_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1_000) // 2)
    with _ticking(2.0) as upstream, tollkeeper("holding", upstream, Shape(cores="0,1")) as ours:
        worker = workers(ours)[0]
        idle = cpu.resident(worker)
        held = _stream(ours, max(options.seconds, 5), count)
        most = cpu.peak(worker)
    what = f"RSS of a worker with {count} streams (idle: {idle / 1e6:.0f} MB)"
    return [
        Figure(13, what, most / 1e6, "MB", target="< 400 MB"),
        Figure(13, "streams alive", held["alive"], "", count, "opened", "all"),
    ]

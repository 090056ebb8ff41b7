"""`tollkeeper top`: figures between two looks, one frame of a real gateway."""

import io
import subprocess
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from rich.console import Console

from gateway.cli.top.figures import compare
from gateway.cli.top.frame import draw
from gateway.metrics import BY_NAME
from tests.harness import COMMAND, Gateway, config, running_gateway

STATUS = {
    "version": "1.0", "generations": [{"number": 3, "workers": [{}, {}]}], "endpoints_down": {"fleet": ["http://a"]},
    "control": {"store_up": True, "lag": 0.0}, "reload_error": "line 3", "engines": {
        "qwen": {"state": "failed", "queues": {"low": 3, "high": 0}, "memory": 2e9, "resident": True, "in_use": 1,
                 "slots": 2, "restarts": {"crash": 4}},
    },
}  # fmt: skip


def measures(at: float, **sums: Any) -> dict[str, Any]:
    return {
        "at": at,
        "sums": {name: [[list(labels), slots] for labels, slots in series.items()] for name, series in sums.items()},
    }


def histogram(name: str, **counts: int) -> list[float]:
    """Slots with so many observations in the bucket that ends at each bound (`b0_1` is 0.1)."""
    bounds = BY_NAME[name].buckets
    slots = [0.0] * (len(bounds) + 2)
    for bound, count in counts.items():
        slots[bounds.index(float(bound[1:].replace("_", ".")))] = count
    return slots


def test_counts_become_rates_and_buckets_percentiles() -> None:
    chat = ("/v1/chat/completions", "qwen", "free")
    before = measures(10.0, requests_total={(*chat, "2xx"): [100.0]})
    now = measures(
        12.0,
        requests_total={(*chat, "2xx"): [140.0], (*chat, "5xx"): [2.0], (*chat, "4xx"): [10.0]},
        tokens_total={("qwen", "free", "prompt"): [200.0], ("qwen", "free", "completion"): [400.0]},
        request_seconds={chat[:2]: histogram("request_seconds", b0_1=50, b1_0=50)},
        rejected_total={("tier:free:rate", "rate_limit_exceeded"): [10.0]},
        quota_used_ratio={("free",): [0.93]},
        inflight={("qwen",): [3.0]},
    )
    figures = compare(before, now, STATUS, ())
    assert (figures.requests, figures.errors, figures.refused) == (26.0, 1.0, 5.0)
    assert (figures.tokens_in, figures.tokens_out, figures.inflight) == (100.0, 200.0, 3.0)
    assert figures.seconds.p50 == pytest.approx(0.1) and figures.seconds.p95 == pytest.approx(0.95)
    (model,), (tier,) = figures.models, figures.tiers
    assert (model.name, model.requests, model.errors, model.tokens) == ("qwen", 26.0, 1.0, 300.0)
    assert (tier.name, tier.errors, tier.ratio) == ("free", 5.0, 0.93)


def test_a_gateway_that_was_started_anew_counts_from_nothing() -> None:
    series = {("/", "m", "t", "2xx"): [100.0]}
    figures = compare(
        measures(1.0, requests_total=series), measures(2.0, requests_total={k: [4.0] for k in series}), STATUS, ()
    )
    assert figures.requests == 4.0


def test_a_frame_fits_a_terminal_and_says_what_is_wrong() -> None:
    rows = {("/v1/chat/completions", f"model-{number}", f"tier-{number}", "2xx"): [5.0] for number in range(50)}
    figures = compare(measures(0.0), measures(1.0, requests_total=rows), STATUS, ())
    console = Console(file=io.StringIO(), width=80)
    console.print(draw(figures, 24))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    told = "\n".join(lines)
    for what in ("reload refused", "fleet: 1 down", "failed", "low 3", "1/2", "250.0 requests/s"):
        assert what in told


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_gateway(config()) as running:
        yield running


def test_one_frame_of_a_real_gateway(gateway: Gateway) -> None:
    over = Event()

    def call() -> None:
        body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"Authorization": f"Bearer {gateway.key('open')}"}
        with httpx.Client(headers=headers) as client:
            while not over.is_set():
                client.post(f"{gateway.url}/v1/chat/completions", json=body).raise_for_status()
                time.sleep(0.02)

    caller = Thread(target=call)
    caller.start()
    try:
        command = [*COMMAND, "top", "--once", "--interval", "2s", "--state", str(gateway.state)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        over.set()
        caller.join()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rate = float(next(line for line in lines if "requests/s" in line).split()[0])
    assert rate > 0
    assert any(line.startswith("echo") and "ready" in line for line in lines), done.stdout
    assert any(line.startswith("open") for line in lines)


def test_without_a_gateway_it_says_so(tmp_path: Any) -> None:
    done = subprocess.run(
        [*COMMAND, "top", "--once", "--state", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "no gateway runs here" in done.stderr

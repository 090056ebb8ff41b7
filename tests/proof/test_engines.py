"""Real engines, and memory for one of them: who gets an answer, who an honest refusal, and where the time went."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends.mlx.tiny import convert
from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Answer, Client, chat
from tests.process.test_engines import INSTALLED

pytestmark = pytest.mark.proof
PARTS = ("llama_cpp.server", "llama-server", "mlx_lm")
REQUESTS = 200
SLACK = 50_000  # microseconds that a busy machine may take between our clock and the gateway's


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    tiny = pytest.importorskip("backends.llama_cpp.tiny", reason="numpy and gguf are not installed")
    from tests.backends.running import MLX_PYTHON

    file, weights = str(tmp_path / "tiny.gguf"), str(tmp_path / "tiny")
    tiny.write_model(file)
    convert(file, weights)
    engines: dict[str, Any] = {
        "python": {"llama_cpp": {"model": file, "server": "python"}},
        "native": {"llama_cpp": {"model": file, "server": "native"}},
        "mlx": {"mlx": {"model": weights, "python": str(MLX_PYTHON)}},
    }
    engines = {name: engine for name, engine in engines.items() if INSTALLED[name]}
    if len(engines) < 2:
        pytest.skip("one engine needs no room: make engines")
    document = config(
        memory="15MB",  # going by their files, each takes 8 to 13
        tiers={"free": {"may_load": False}, "pro": {}, "enterprise": {"may_evict": True}},
        backends={name: {**engine, "residency": "500ms", "queue": 1000} for name, engine in engines.items()},
        models={name: {"backend": name} for name in engines},
        routes=[{"path": "/v1/chat/completions"}],
    )
    with running_gateway(document, workers=2) as gateway:
        yield gateway


def count_engines(gateway: Gateway) -> int:
    found = 0
    for process in psutil.Process(gateway.pid).children(recursive=True):
        try:
            words = " ".join(process.cmdline())
        except psutil.Error:
            continue
        found += "shim.py" not in words and any(part in words for part in PARTS)
    return found


async def test_random_requests_for_more_models_than_fit(gateway: Gateway) -> None:
    dice, turns, address = random.Random(4), asyncio.Semaphore(24), gateway.address
    models = [*gateway.status()["engines"]]
    keys = {tier: gateway.key(tier) for tier in ("free", "pro", "enterprise")}
    most = 0
    answers: dict[str, Answer] = {}

    async def ask(tier: str, model: str, name: str) -> tuple[str, int]:
        async with turns:
            client = Client(address, keys[tier], fresh=True)
            try:
                asked = {**chat(stream=name.startswith("s")), "model": model, "max_tokens": 12}
                answer = answers[name] = await client.ask(asked, request_id=name)
            finally:
                client.close()
            return tier, 200 if answer.status == 200 else int(answer.json["error"]["number"])

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, count_engines(gateway))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(300):
        names = [f"{'sw'[n % 2]}{n}" for n in range(REQUESTS)]
        told = Counter(await asyncio.gather(*(ask(dice.choice([*keys]), dice.choice(models), name) for name in names)))
    watching.cancel()
    print(dict(told))
    assert most == 1, "never more than the budget"
    assert {number for tier, number in told if tier == "enterprise"} == {200}
    assert {number for tier, number in told if tier == "pro"} <= {200, 1714}
    assert {number for tier, number in told if tier == "free"} <= {200, 1108}
    assert sum(told.values()) == REQUESTS
    whole = sum(count for (_, number), count in told.items() if number == 200)
    rows = await asyncio.to_thread(eventually, lambda: complete(gateway, whole), 20)
    gaps = [check_parts(row, answers[row["request_id"]]) for row in rows]
    print(f"{len(rows)} answers; of the client's time, {max(gaps):.1%} at the most is not explained")


def complete(gateway: Gateway, count: int) -> list[Any]:
    rows = gateway.query("SELECT * FROM requests WHERE outcome = 'complete'")
    return rows if len(rows) == count else []


def check_parts(row: Any, answer: Answer) -> float:
    """What the supervisor saw of queue and load, the worker of connecting, of the server and of the stream after its
    first byte is what the client waited for, by its own clock. Returns the part of that which nobody has named."""
    server = float(answer.headers["x-tollkeeper-upstream-ms"]) * 1e3  # until the first byte of a stream
    named = row["queue_us"] + row["load_us"] + row["connect_us"] + server + (row["decode_us"] if row["stream"] else 0)
    total = (answer.received - answer.sent) * 1e6
    assert named == pytest.approx(total, rel=0.05, abs=SLACK), (dict(row), total)
    assert row["total_us"] == pytest.approx(total, rel=0.05, abs=SLACK), (dict(row), total)
    assert named + row["overhead_us"] == pytest.approx(row["total_us"], rel=0.05, abs=3000), dict(row)
    return abs(total - named) / total

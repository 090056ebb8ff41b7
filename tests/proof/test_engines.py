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
from tests.harness import Gateway, config, running_gateway
from tests.load import Client, chat
from tests.process.test_engines import INSTALLED

pytestmark = pytest.mark.proof
PARTS = ("llama_cpp.server", "llama-server", "mlx_lm")
REQUESTS = 200


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

    async def ask(tier: str, model: str) -> tuple[str, int]:
        async with turns:
            client = Client(address, keys[tier], fresh=True)
            try:
                answer = await client.ask({**chat(), "model": model, "max_tokens": 12})
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
        told = Counter(await asyncio.gather(*(ask(dice.choice([*keys]), dice.choice(models)) for _ in range(REQUESTS))))
    watching.cancel()
    print(dict(told))
    assert most == 1, "never more than the budget"
    assert {number for tier, number in told if tier == "enterprise"} == {200}
    assert {number for tier, number in told if tier == "pro"} <= {200, 1714}
    assert {number for tier, number in told if tier == "free"} <= {200, 1108}
    assert sum(told.values()) == REQUESTS
    await asyncio.sleep(1)
    rows = gateway.query("SELECT * FROM requests WHERE outcome = 'complete'")
    assert len(rows) == sum(count for (_, number), count in told.items() if number == 200)
    for row in rows:  # the first token is counted from the request's arrival
        waited = row["queue_us"] + row["load_us"] + row["connect_us"]
        answering = row["first_token_us"] - waited - row["overhead_us"]
        assert answering >= -3000, dict(row)
        parts = waited + row["overhead_us"] + answering + row["decode_us"]
        assert parts == pytest.approx(row["total_us"], rel=0.05, abs=3000), dict(row)

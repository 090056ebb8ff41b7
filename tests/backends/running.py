"""An engine of a backend, started as the supervisor starts it."""

import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from gateway.engines.leftovers import Leftovers
from gateway.engines.probe import Prober
from gateway.engines.process import Engine
from gateway.engines.site import Site

MLX_PYTHON = Path(sys.prefix) / "mlx" / "bin" / "python"  # where `make engines` puts it


@asynccontextmanager
async def start_engine(backend: Any, folder: Path) -> AsyncIterator[Engine]:
    """Ends it, too. `folder` takes its log."""
    assert backend.problems() == []
    alive, life = os.pipe()
    prober = Prober()
    site = Site(str(folder), alive, Leftovers(str(folder / "engines.json")), prober, itertools.count(1))
    engine = Engine(backend, site, lambda: None)
    engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
        await prober.close()
        os.close(alive)
        os.close(life)


async def find_url(engine: Engine) -> str:
    return f"http://127.0.0.1:{(await engine.ensure_ready(60)).port}"


def find_key(engine: Engine) -> dict[str, str]:
    """The headers that this run of a ready engine asks for."""
    assert engine.run is not None
    return {"Authorization": f"Bearer {engine.run.key}"} if engine.run.key else {}


def ask(tokens: int, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}], "max_tokens": tokens, "temperature": 0} | fields


async def check_key(engine: Engine) -> None:
    """Only who shows the key of this start is answered, and neither processes' lists nor the log show it."""
    async with httpx.AsyncClient(base_url=await find_url(engine)) as client:
        for headers, status in (({}, 401), ({"authorization": "Bearer any"}, 401), (find_key(engine), 200)):
            answer = await client.post("/v1/chat/completions", json=ask(1), headers=headers)
            assert answer.status_code == status
    run = engine.run
    assert run is not None and len(run.key) >= 32
    assert run.key not in " ".join(psutil.Process(run.pid).cmdline())
    assert run.key not in "\n".join(engine.last_words(200))

"""An engine of a backend, started as the supervisor starts it."""

import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.engines.leftovers import Leftovers
from gateway.engines.probe import Prober
from gateway.engines.process import Engine, Site

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

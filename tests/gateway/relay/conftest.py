"""As in the worker: uvloop, and real sockets."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import plugins
from tests.gateway.http.conftest import pytest_asyncio_loop_factories as pytest_asyncio_loop_factories
from tests.gateway.http.peers import Site
from tests.gateway.relay.stage import Stage

THROWAWAY = Path(__file__).parent / "throwaway"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Not started yet; checked at the end to have left nothing behind."""
    site = Site()
    stage = Stage(site, tmp_path)
    yield stage
    try:
        if stage.port:
            await stage.close()
    finally:
        await site.close()


@pytest.fixture
def third_parties(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The throwaway plugins lie beside our own, for as long as a test runs."""
    monkeypatch.setattr(plugins, "__path__", [*plugins.__path__, str(THROWAWAY)])
    yield
    for path in THROWAWAY.glob("[a-z]*.py"):
        if sys.modules.pop(f"plugins.{path.stem}", None) is not None:
            delattr(plugins, path.stem)

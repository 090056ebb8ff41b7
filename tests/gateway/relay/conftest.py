"""As in the worker: uvloop, and real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.http.conftest import pytest_asyncio_loop_factories as pytest_asyncio_loop_factories
from tests.gateway.http.peers import Site
from tests.gateway.relay.stage import Stage


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

"""Everything here runs on uvloop, as the worker does, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.gateway.http.peers import Site


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Starts servers and pools; closes them, and fails if a connection outlived its test."""
    site = Site()
    yield site
    await site.close()

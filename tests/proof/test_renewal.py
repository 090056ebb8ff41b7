"""Ten reloads and ten rolling restarts, 100,000 requests each; a stream of three minutes over ten reloads."""

import asyncio

import pytest

from tests.harness import config, eventually, running_gateway
from tests.process.test_renewal import (
    Disturbance,
    check_generations,
    disturb,
    outlive,
    reload,
    restart_workers,
)

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("disturbance", [reload, restart_workers])
async def test_none_of_100_000_requests_fails(disturbance: Disturbance) -> None:
    with running_gateway(config(), workers=2) as gateway:
        load = await disturb(gateway, disturbance, 10, 100_000)
        assert load.asked >= 100_000
        await asyncio.to_thread(eventually, lambda: len(gateway.rows()) >= load.asked, 20.0)
        check_generations(gateway, load, 11 if disturbance is reload else 1)


async def test_three_minutes_of_streaming_outlive_ten_reloads() -> None:
    with running_gateway(config(), workers=2) as gateway:
        await outlive(gateway, 10, 180.0)

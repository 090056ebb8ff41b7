"""Twenty kills of workers under load, and each process five times over: the books stay exact."""

from pathlib import Path

import pytest

from tests.harness import config, running_gateway
from tests.process.test_exactness import VICTIMS, kill_and_count
from tests.process.test_kill import kill_workers

pytestmark = pytest.mark.proof


async def test_twenty_killed_workers_are_booked() -> None:
    with running_gateway(config(), workers=2) as gateway:
        await kill_workers(gateway, 20)


@pytest.mark.parametrize("round", range(5))
@pytest.mark.parametrize("victim", VICTIMS)
async def test_the_month_stays_exact(victim: str, round: int, tmp_path: Path) -> None:
    await kill_and_count((victim,), tmp_path)

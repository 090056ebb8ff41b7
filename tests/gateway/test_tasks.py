import asyncio
import gc
import logging

import pytest

from gateway.tasks import spawn


async def test_a_task_lives_without_anybody_holding_it() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    assert spawn(work(), "work").get_name() == "work"
    gc.collect()
    await asyncio.wait_for(done.wait(), 2)


async def test_a_failure_that_nobody_awaits_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    task = spawn(fail(), "the doomed")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tollkeeper", logging.ERROR)
    assert "the doomed" in record.getMessage()
    assert record.exc_info is not None and isinstance(record.exc_info[1], ValueError)


async def test_a_cancelled_task_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    task = spawn(asyncio.sleep(60), "sleeper")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert not caplog.records

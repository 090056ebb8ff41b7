"""Pulls of control's: real child processes, and a hub that the tests run."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gateway.control.consumer import DirectoryError
from gateway.control.pulls import Pull, Pulls
from tests.hub import COMMIT, CUT, MODEL, WEIGHTS, Hub, serving

PATIENCE = 60.0  # seconds


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.port}")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield hub


@pytest.fixture
async def pulls() -> Pulls:
    numbers = itertools.count(1)
    return Pulls(lambda: 1_700_000_000_000_000, lambda: f"pull-{next(numbers)}")


async def until(pulls: Pulls, is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await pulls.wait(1.0)


async def test_a_pull_tells_how_far_it_is_and_where_the_model_lies(hub: Hub, pulls: Pulls, tmp_path: Path) -> None:
    pull = await pulls.start(MODEL)
    assert (pull.state, pulls.find(pull.id), pulls.list_all()) == ("running", pull, [pull])
    await until(pulls, lambda: pull.is_over)
    assert (pull.state, pull.error, pull.started, pull.ended) == ("done", "", 1_700_000_000.0, 1_700_000_000.0)
    assert pull.path == str(tmp_path / "hub" / "models--lab--tiny" / "snapshots" / COMMIT)
    sizes = {name: len(body) for name, body in hub.files.items()}
    assert {name: file.there for name, file in pull.files.items()} == sizes
    assert (Path(pull.path) / "model.safetensors").read_bytes() == WEIGHTS


async def test_a_cancelled_pull_ends_and_the_next_one_goes_on_there(hub: Hub, pulls: Pulls) -> None:
    hub.stalls = True
    others = psutil.Process().children(recursive=True)
    pull = await pulls.start(MODEL)
    await until(pulls, lambda: hub_has_sent(pull))
    children = [child for child in psutil.Process().children(recursive=True) if child not in others]
    assert children
    pulls.cancel(pull)
    await until(pulls, lambda: pull.ended > 0)
    assert pull.state == "cancelled"
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    hub.stalls = False
    hub.ranges.clear()
    again = await pulls.start(MODEL)
    await until(pulls, lambda: again.is_over)
    assert again.state == "done"
    assert [asked for asked in hub.ranges if asked.startswith("bytes=") and asked != "bytes=0-"]
    pulls.cancel(again)  # it is over: nothing happens
    assert again.state == "done"


def hub_has_sent(pull: Pull) -> bool:
    return any(file.there >= CUT // 2 for name, file in pull.files.items() if name.endswith(".safetensors"))


async def test_no_model_twice_at_once_and_no_more_than_two(hub: Hub, pulls: Pulls) -> None:
    hub.stalls = True
    first = await pulls.start(MODEL)
    with pytest.raises(DirectoryError, match="is being pulled already"):
        await pulls.start(MODEL)
    second = await pulls.start(f"{MODEL}:model.safetensors")
    with pytest.raises(DirectoryError, match="2 pulls run already"):
        await pulls.start(f"{MODEL}:config.json")
    pulls.close()
    await until(pulls, lambda: first.ended > 0 and second.ended > 0)


async def test_a_pull_that_cannot_be_says_why(hub: Hub, pulls: Pulls) -> None:
    pull = await pulls.start("lab/other")
    await until(pulls, lambda: pull.is_over)
    assert (pull.state, pull.path) == ("failed", "")
    assert pull.error == "the hub has no model lab/other, or it is private: then set HF_TOKEN"


async def test_waiting_ends_when_its_time_is_over(pulls: Pulls) -> None:
    began = time.monotonic()
    await pulls.wait(0.05)
    assert time.monotonic() - began >= 0.04

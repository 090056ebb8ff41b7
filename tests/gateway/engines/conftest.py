"""Engines of a supervisor that is this test: a state directory, an alive pipe, and a backend that misbehaves."""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gateway.backend import BaseBackend, BaseSettings, Launch
from gateway.engines.leftovers import Leftovers
from gateway.engines.probe import Prober
from gateway.engines.process import Engine
from gateway.engines.site import Site

FAKE = str(Path(__file__).with_name("fake_engine.py"))


class FakeSettings(BaseSettings, frozen=True):
    flags: tuple[str, ...] = ()


class FakeBackend(BaseBackend[FakeSettings]):
    """Starts `fake_engine.py`."""

    start_timeout = 10.0
    stop_timeout = 0.5

    def launch(self, port: int) -> Launch:
        return Launch((sys.executable, "-I", "-S", FAKE, f"--port={port}", *self.settings.flags))


def make_backend(*flags: str, name: str = "fake") -> FakeBackend:
    return FakeBackend(name, FakeSettings(flags=flags))


async def eventually(check: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `check` is true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not check():
        assert loop.time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


def wait_until_gone(family: list[psutil.Process], seconds: float) -> None:
    """Wait until every process has ended; one that init has not reaped yet has."""
    deadline = time.monotonic() + seconds
    while any(is_alive(member) for member in family):
        assert time.monotonic() < deadline, f"still there: {[m for m in family if is_alive(m)]}"
        time.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.fixture
def alive() -> Iterator[int]:
    read_end, write_end = os.pipe()
    yield read_end
    os.close(read_end)
    os.close(write_end)


@pytest.fixture
async def site(tmp_path: Path, alive: int) -> AsyncIterator[Site]:
    prober = Prober()
    yield Site(str(tmp_path), alive, Leftovers(str(tmp_path / "engines.json")), prober, itertools.count(1))
    await prober.close()


@pytest.fixture
async def start(site: Site) -> AsyncIterator[Callable[..., Engine]]:
    """Starts an engine with flags of the fake one; it is stopped at the end and leaves no process."""
    engines: list[Engine] = []

    def start(*flags: str, backend: FakeBackend | None = None) -> Engine:
        engine = Engine(backend or make_backend(*flags), site, lambda: None)
        engines.append(engine)
        engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.stop()
    await eventually(lambda: not descendants())

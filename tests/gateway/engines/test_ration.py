"""What an engine may take of the machine, seen on real processes."""

import os
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from gateway.engines.process import Engine, Site
from gateway.engines.ration import Ration
from gateway.settings.check import find_problems
from gateway.settings.load import load_text
from tests.gateway.engines.conftest import make_backend


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone binds processes to processors")
async def test_an_engine_and_its_children_are_bound(site: Site) -> None:
    one = min(os.sched_getaffinity(0))
    engine = Engine(make_backend("--fork-child"), site, lambda: None, Ration(7, (one,)))
    engine.start()
    run = await engine.ensure_ready(5)
    family = [psutil.Process(run.pid), *psutil.Process(run.pid).children()]
    assert [(member.nice(), member.cpu_affinity()) for member in family] == [(7, [one])] * 2
    await engine.stop()


def test_nothing_is_changed_where_nothing_is_asked(sleeper: "subprocess.Popen[bytes]") -> None:
    before = psutil.Process(sleeper.pid).nice()
    Ration().apply(sleeper.pid)
    assert psutil.Process(sleeper.pid).nice() == before


def test_what_cannot_be_is_said_and_survived(
    sleeper: "subprocess.Popen[bytes]", caplog: pytest.LogCaptureFixture
) -> None:
    Ration(0, (4000,)).apply(sleeper.pid)
    assert not hasattr(os, "sched_setaffinity") or "keeps its place" in caplog.text
    Ration(5).apply(2**22 - 1)  # nobody's


def test_processors_that_are_not_there_are_told() -> None:
    config = load_text("backends: {a: {echo: {}, cpus: [0, 4000], nice: 19}}")
    told = [problem.message for problem in find_problems(config) if problem.path == "backends.a.cpus"]
    assert len(told) == 1 and told[0].startswith("there is no processor 4000 ")

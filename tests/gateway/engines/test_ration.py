"""What an engine may take of the machine, seen on real processes."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.engines.plan import plan_engines
from gateway.engines.process import Engine
from gateway.engines.ration import Ration, can_bound_memory, measure
from gateway.engines.site import Site
from gateway.engines.states import State
from gateway.settings.check import find_problems
from gateway.settings.document import read_document
from gateway.settings.load import build, load_text
from tests.gateway.engines.conftest import eventually, make_backend


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


LIMIT = 100_000_000
PARTS = pytest.mark.skipif(not all(can_bound_memory()), reason="only Linux bounds memory of processes")


async def start_with(site: Site, *flags: str, **ration: Any) -> Engine:
    engine = Engine(make_backend(*flags), site, lambda: None, Ration(**ration))
    engine.start()
    return engine


@PARTS
async def test_one_process_gets_no_more_memory_than_its_limit(site: Site) -> None:
    """The kernel refuses it; what the engine makes of that is its own affair: this one ends."""
    engine = await start_with(site, f"--allocate={LIMIT}", memory=LIMIT)
    await eventually(lambda: engine.condition.state is State.BACKOFF, 20)
    assert engine.condition.reason == "ended with exit code 1"
    assert "MemoryError" in engine.last_words(1)
    await engine.stop()


@PARTS
async def test_what_a_group_holds_together_is_looked_at(site: Site) -> None:
    engine = await start_with(site, "--fork-child", f"--allocate={LIMIT * 2 // 3}", memory=LIMIT)
    await eventually(lambda: engine.restarts, 30)
    assert engine.restarts == {"memory": 1}
    assert "more than its limit of 100,000,000; was ended by SIGKILL" in engine.condition.reason
    await engine.stop()


@PARTS
async def test_within_its_limit_an_engine_lives(site: Site) -> None:
    engine = await start_with(site, f"--allocate={LIMIT // 2}", memory=LIMIT)
    run = await engine.ensure_ready(20)
    held = measure(run.pid)
    assert held is not None and LIMIT // 2 <= held <= LIMIT
    assert engine.restarts == {}
    await engine.stop()


def test_a_limit_that_is_not_kept_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_text("backends: {a: {echo: {}, memory_limit: 1GB}}")
    path = "backends.a.memory_limit"
    assert any(problem.path == path for problem in find_problems(config)) != all(can_bound_memory())
    monkeypatch.delattr(resource, "prlimit", raising=False)
    assert [problem.level for problem in find_problems(config) if problem.path == path] == ["warning"]


def test_what_is_mapped_from_a_file_is_not_its_own(tmp_path: Path) -> None:
    """Models are mapped: many engines share one, and the system gives the memory back when it is wanted."""
    model = tmp_path / "model"
    model.write_bytes(b"x" * LIMIT)
    script = (
        f"import mmap; f = open({str(model)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); sum(m[::4096]); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, start_new_session=True)
    try:
        family = psutil.Process(process.pid)
        deadline = time.monotonic() + 20
        while family.memory_info().rss < LIMIT:
            assert time.monotonic() < deadline
        held = measure(process.pid)
        assert held is None or held < LIMIT // 2
    finally:
        process.communicate(b"\n")


@pytest.mark.parametrize(
    ("gpus", "told"),
    [
        (None, {}),
        (
            (0, 2),
            {"CUDA_VISIBLE_DEVICES": "0,2", "ONEAPI_DEVICE_SELECTOR": "level_zero:0,2", "ROCR_VISIBLE_DEVICES": ""},
        ),
        ((), {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1", "ONEAPI_DEVICE_SELECTOR": "*:cpu"}),
    ],
)
def test_gpus_are_shown_by_variables(gpus: tuple[int, ...] | None, told: dict[str, str]) -> None:
    environment = Ration(gpus=gpus).environment()
    assert told.items() <= environment.items()
    assert bool(environment) == bool(told)


async def test_s46_s47_secrets_and_gpus_reach_the_engine_by_its_environment(site: Site) -> None:
    secrets = {"HF_TOKEN": "hf_very_secret", "LICENCE": "lic-0815-4711"}
    engine = Engine(make_backend("--tell=LICENCE"), site, lambda: None, Ration(gpus=(1,)), secrets)
    engine.start()
    run = await engine.ensure_ready(20)
    process = psutil.Process(run.pid)
    environment = process.environ()
    assert secrets.items() <= environment.items()
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    for member in (process, process.parent()):
        assert not any(secret in " ".join(member.cmdline()) for secret in secrets.values())
    assert engine.last_words(1) == ["LICENCE is ***"]
    assert "lic-0815" not in Path(site.logs, "fake.log").read_text()
    await engine.stop()


def test_other_secrets_or_gpus_are_another_engine() -> None:
    plans = [plan_engines(load_text(f"backends: {{a: {{echo: {{}}{more}}}}}"))["a"] for more in (
        "", ", gpus: [0]", ", memory_limit: 1GB", ", secrets: {A: abcdef}",
    )]  # fmt: skip
    assert [one.needs_restart(plans[0]) for one in plans] == [False, True, True, True]
    assert (plans[2].ration.memory, plans[3].secrets) == (1_000_000_000, {"A": "abcdef"})


def test_a_secret_in_the_file_is_told() -> None:
    document = read_document("backends: {a: {echo: {}, secrets: {A: abcdef, B: '${X}'}}}", {"X": "y"})
    told = [problem.path for problem in find_problems(build(document), document) if "plain text" in problem.message]
    assert told == ["backends.a.secrets.A"]

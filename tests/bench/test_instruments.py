"""The instruments tell the truth: CPU time of trees, counted chunks, kept pace, merged results."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import cpu, report
from tests.bench.figure import Figure, alternate, medians
from tests.bench.place import ROOT, await_port, free_port

_BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
_PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BURN!r}])\n{_BURN}print('done')\ninput()"


def test_cpu_counts_a_process_and_its_reaped_children() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "done\n"
        spent = cpu.seconds(cpu.tree(parent.pid))
        assert cpu.resident(parent.pid) <= cpu.peak(parent.pid)
        parent.communicate("")
    assert 0.6 <= spent < 0.9


def test_cpu_finds_grandchildren_and_roles() -> None:
    inner = "import time; time.sleep(30)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}, 'gateway.worker'])"
    with subprocess.Popen([sys.executable, "-c", outer]) as parent:
        try:
            deadline = time.monotonic() + 5
            while len(found := cpu.tree(parent.pid)) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            inside = found[1:]
            assert [cpu.role(pid) for pid in inside] == ["worker"]
        finally:
            subprocess.run(["kill", *map(str, cpu.tree(parent.pid))], check=True)


@pytest.fixture
def ticking(tmp_path: Path) -> Iterator[int]:
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "tests.bench.streams", "upstream", "--port", str(port), "--interval", "0.02"]
    with log.open("wb") as output, subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as process:
        try:
            await_port(process, port, log, 10)
            yield port
        finally:
            process.terminate()


def test_streams_tick_at_their_interval_and_are_all_counted(ticking: int) -> None:
    command = [sys.executable, "-m", "tests.bench.streams", "client", "--port", str(ticking), "--count", "40"]
    shown = subprocess.run([*command, "--seconds", "1"], cwd=ROOT, capture_output=True, text=True, check=True)
    ready, counted = shown.stdout.splitlines()
    seen = json.loads(counted)
    assert ready == "ready"
    assert seen["alive"] == 40
    assert 0.7 * 40 * 50 < seen["chunks"] < 1.3 * 40 * 50


def test_subjects_take_turns() -> None:
    order: list[str] = []
    subjects = {name: (lambda name=name: order.append(name)) for name in "ab"}
    assert {name: len(taken) for name, taken in alternate(subjects, 3).items()} == {"a": 3, "b": 3}
    assert order == list("ababab")
    assert medians([{"x": 1.0, "y": 5.0}, {"x": 3.0}, {"x": 2.0}]) == {"x": 2.0, "y": 0.0}


def test_new_figures_replace_their_row_and_keep_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_FOLDER", tmp_path)
    (tmp_path / "README.md").write_text(f"before\n{report._BEGIN}\nold\n{report._END}\nafter\n")
    first = [Figure(1, "a", 30.0, "us", 60.0, "Envoy", "<= 1.0x"), Figure(4, "b", 7.0, "us")]
    report.write(report.merge(first, "monday"))
    report.write(report.merge([Figure(1, "renamed", 20.0, "us", 40.0, "Envoy")], "tuesday"))
    text = (tmp_path / "README.md").read_text()
    assert "| 1 | renamed | 20 us | 40 us (Envoy) | 0.50x |  |" in text
    assert "| 4 | b | 7 us |" in text and "| 1 | a |" not in text and "old" not in text
    assert text.startswith("before") and text.endswith("after\n")

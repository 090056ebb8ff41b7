"""One run of the suite against an address, and the two addresses: the mock server, and the gateway before it."""

import hashlib
import json
import os
import shutil
import subprocess
import time
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.gateway import await_ready, serve_command
from tests.bench.place import await_port, free_port
from tests.conformance.suite import MOCK, PYTHON, TESTS, WORK

_KEYS = ("My API Key", "My Admin API Key")  # those of the suite's own conftest
_FORMATS = ("query-array", "form-array", "query-object", "form-object")  # as in the suite's scripts/mock: brackets


class Outcome(NamedTuple):
    """The names of the tests by what came of them, and how long it took in seconds."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: frozenset[str]
    seconds: float

    def __str__(self) -> str:
        counts = (f"{len(names)} {kind}" for kind, names in zip(self._fields, self[:3], strict=False))
        return f"{', '.join(counts)} in {self.seconds:.0f} s"


@contextmanager
def _process(name: str, command: list[str], port: int) -> Iterator[None]:
    log = WORK / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=WORK)
    try:
        await_port(process, port, log)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def mock_server(description: Path) -> Iterator[str]:
    """The address of a mock server that answers by the description and refuses what does not fit it."""
    port = free_port()
    formats = (f"--validator-{place}-format=brackets" for place in _FORMATS)
    command = ["node", str(MOCK), "--quiet", "--host", "127.0.0.1", "-p", str(port), *formats, str(description)]
    with _process("mock", command, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def gateway(upstream: str) -> Iterator[str]:
    """The address of a gateway with the whole default chain, whose only route leads everything to `upstream`."""
    folder = WORK / "gateway"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    port, status = free_port(), free_port()
    digests = [{"sha256": hashlib.sha256(key.encode()).hexdigest()} for key in _KEYS]
    config = {
        "listen": {"proxy": f"127.0.0.1:{port}", "status": f"127.0.0.1:{status}", "admin": ""},
        "state": {"directory": str(folder / "var")},
        "tiers": {"suite": {"rate": "1_000_000/min", "monthly": 100_000_000}},
        "consumers": {"suite": {"tier": "suite", "keys": digests}},
        "backends": {"mock": {"http": {"endpoints": [{"url": upstream}], "key": _KEYS[0]}}},
        "plugins": [{"cors": {"origins": ["https://app.example"]}}, {"key_auth": {}}, {"quota": {}}],
        "routes": [{"path": "/*", "to": "mock"}],
    }
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(config))
    with _process("gateway", serve_command(path), port):
        await_ready(status)
        yield f"http://127.0.0.1:{port}"


def run_suite(name: str, address: str, jobs: int) -> Outcome:
    """openai-python's tests of every API resource against `address`."""
    report = WORK / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [str(PYTHON), "-m", "pytest", "tests/api_resources", "-o", "addopts=", "-n", str(jobs), "-q", "--tb=line"]
    environment = {"TEST_API_BASE_URL": address, "DEFER_PYDANTIC_BUILD": "false"}
    begun = time.monotonic()
    with (WORK / f"{name}.log").open("wb") as log:
        subprocess.run(
            [*command, "-p", "no:cacheprovider", f"--junitxml={report}"],
            cwd=TESTS, env=os.environ | environment, stdout=log, stderr=log, check=False,
        )  # fmt: skip
    return _read(report, time.monotonic() - begun)


def _read(report: Path, seconds: float) -> Outcome:
    names: dict[str, set[str]] = {"passed": set(), "failed": set(), "skipped": set()}
    for case in xml.parse(report).iter("testcase"):
        found = {child.tag for child in case}
        kind = "failed" if found & {"failure", "error"} else "skipped" if "skipped" in found else "passed"
        names[kind].add(f"{case.get('classname')}::{case.get('name')}")
    return Outcome(frozenset(names["passed"]), frozenset(names["failed"]), frozenset(names["skipped"]), seconds)

"""`tollkeeper models` against a running gateway."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.harness import COMMAND, Gateway, config, running_gateway


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    document = config(
        memory="1500MB",
        backends={
            "one": {"echo": {}, "memory": "1GB", "residency": 0},
            "two": {"echo": {}, "memory": "1GB", "residency": 0},
            "far": {"http": {"endpoints": [{"url": "http://127.0.0.1:9"}], "health": None}},
        },
        models={
            "m/one": {"backend": "one"},
            "two": {"backend": "two"},
            "uno": {"alias": "m/one"},
            "far": {"backend": "far"},
        },
        routes=[{"path": "/v1/chat/completions"}],
    )
    with running_gateway(document) as running:
        yield running


def run(gateway: Gateway, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, "models", *words, "--state", str(gateway.state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def told(gateway: Gateway) -> dict[str, str]:
    return {row["model"]: row["status"] for row in json.loads(run(gateway, "list", "--json").stdout)}


def test_load_unload_and_list(gateway: Gateway) -> None:
    assert told(gateway) == {"m/one": "unloaded", "two": "unloaded", "uno": "unloaded", "far": "remote"}
    assert run(gateway, "load", "m/one").stdout == "m/one: loaded\n"
    assert told(gateway)["uno"] == "loaded", "an alias of it"
    assert run(gateway, "load", "two").stdout == "two: loaded\n", "an operator may evict"
    assert told(gateway) == {"m/one": "unloaded", "two": "loaded", "uno": "unloaded", "far": "remote"}
    table = run(gateway, "list").stdout.splitlines()
    assert table[0].split()[:3] == ["model", "backend", "status"]
    assert any(line.startswith("two") and "1.00 GB" in line for line in table)
    assert run(gateway, "unload", "two").stdout == "two: unloaded\n"
    assert run(gateway, "unload", "two").stdout == "two: unloaded\n", "twice is well"


def test_logs(gateway: Gateway) -> None:
    run(gateway, "load", "two")
    assert "echo" in run(gateway, "logs", "two").stdout.lower()


def test_names_that_nobody_has(gateway: Gateway) -> None:
    done = run(gateway, "load", "nonesuch")
    assert (done.returncode, done.stderr) == (1, "tollkeeper: there is no model and no engine 'nonesuch'\n")
    assert run(gateway, "unload", "far").returncode == 1, "somebody else runs it"


def test_watch(gateway: Gateway) -> None:
    run(gateway, "unload", "two")
    command = [*COMMAND, "models", "watch", "--state", str(gateway.state)]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONUNBUFFERED": "1"})
    try:
        assert watching.stdout is not None
        first = [watching.stdout.readline() for _ in range(4)]
        assert any(line.endswith("two: unloaded\n") for line in first)
        run(gateway, "load", "two")
        lines = iter(watching.stdout.readline, "")
        assert any(line.endswith("two: loaded\n") for line in lines)
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()

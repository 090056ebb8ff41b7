"""`tollkeeper serve` as a process, and the commands that speak to it."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-P", "-c", "from gateway.cli import main; main()")
DEMO = """
demo: true
listen: {proxy: "127.0.0.1:0", status: "127.0.0.1:0", admin: ""}
workers: 1
state: {directory: %s/var}
tiers: {free: {rate: 100/min}, anonymous: {rate: 30/min, by: ip}}
backends: {echo: {echo: {}}}
models: {echo: {backend: echo}}
plugins: [key_auth, quota]
routes: [{path: /v1/chat/completions}]
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False)


class Running:
    """A gateway that serves `file`; `banner` is what it said first."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.process = subprocess.Popen(
            [*COMMAND, "serve", str(file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if '"stream": true' in line:
                break
        self.banner = "".join(lines)
        self.address = re.search(r"127\.0\.0\.1:\d+", self.banner)[0]  # type: ignore[index]
        self.key = re.search(r"tk_demo_free_\w{43}", self.banner)[0]  # type: ignore[index]

    def get(self, path: str, key: str) -> tuple[int, Any]:
        request = urllib.request.Request(f"http://{self.address}{path}", headers={"Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process.wait()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "demo.yaml").write_text(DEMO % folder)
    running = Running(folder / "demo.yaml")
    yield running
    assert running.end() == 0


def test_the_banner_holds_a_key_per_tier_and_calls_that_work(gateway: Running) -> None:
    assert gateway.banner.startswith(f"tollkeeper serves {gateway.address}; status at ")
    assert f"free  {gateway.key}" in gateway.banner
    assert "anonymous" not in gateway.banner
    calls = re.findall(r"curl .*\\\n.*", gateway.banner)
    assert len(calls) == 2
    whole, streamed = (subprocess.run(call, shell=True, capture_output=True, text=True, check=True) for call in calls)
    assert json.loads(whole.stdout)["choices"][0]["message"]["content"] == "Hello there"
    assert streamed.stdout.endswith("data: [DONE]\n\n")


def test_a_second_gateway_in_the_same_directory_says_so_in_one_line(gateway: Running) -> None:
    result = run("serve", gateway.file)
    assert result.returncode == 3
    assert result.stderr == (
        f"tollkeeper: cannot start: another gateway (process {gateway.process.pid}) uses the state directory "
        f"{gateway.file.parent}/var\n"
    )


def test_status(gateway: Running) -> None:
    shown = run("status", "-c", gateway.file)
    assert shown.returncode == 0
    assert f"pid: {gateway.process.pid}\n" in shown.stdout
    data = json.loads(run("status", "--json", "-c", gateway.file).stdout)
    assert data["pid"] == gateway.process.pid
    assert data["addresses"] == [gateway.address]


def test_a_key_lives_from_its_making_to_its_revocation(gateway: Running) -> None:
    made = run("key", "new", "-c", gateway.file, "--consumer", "bob", "--tier", "free")
    key = made.stdout.strip()
    assert gateway.get("/v1/models", key)[0] == 200
    assert run("key", "revoke", "-c", gateway.file, key.split("_")[1]).returncode == 0
    deadline = time.monotonic() + 1
    while gateway.get("/v1/models", key)[0] != 401:
        assert time.monotonic() < deadline, "a revoked key still works after a second"
    assert gateway.get("/v1/models", key)[1]["error"]["number"] == 1002


def test_reload_serves_the_new_file_and_refuses_a_bad_one(gateway: Running) -> None:
    text = gateway.file.read_text()
    gateway.file.write_text(text.replace("models: {echo: {backend: echo}}", "models: {other: {backend: echo}}"))
    assert run("reload", "-c", gateway.file).stdout == "reloaded\n"
    assert [model["id"] for model in gateway.get("/v1/models", gateway.key)[1]["data"]] == ["other"]
    gateway.file.write_text("tierz: {}")
    refused = run("reload", "--state", gateway.file.parent / "var")
    assert refused.returncode == 1
    assert refused.stderr == "tollkeeper: line 1: tierz: unknown key `tierz`, did you mean `tiers`?\n"
    assert gateway.get("/v1/models", gateway.key)[0] == 200
    gateway.file.write_text(text)
    assert run("reload", "-c", gateway.file).returncode == 0


def test_drain_ends_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(DEMO % tmp_path)
    running = Running(tmp_path / "demo.yaml")
    try:
        assert run("drain", "-c", running.file).stdout == "draining\n"
        assert running.process.wait(15) == 0
        assert run("status", "-c", running.file).stderr == "tollkeeper: no gateway runs here\n"
    finally:
        running.end()


def start_fails(tmp_path: Path, old: str, new: str) -> str:
    """The one line on stderr of a gateway that cannot start."""
    (tmp_path / "demo.yaml").write_text((DEMO % tmp_path).replace(old, new))
    result = run("serve", tmp_path / "demo.yaml")
    assert result.returncode == 3
    said = [line for line in result.stderr.splitlines() if not line.startswith("time=")]
    assert len(said) == 1, result.stderr
    assert result.stdout == ""
    return said[0].removeprefix("tollkeeper: cannot start: ")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in start_fails(tmp_path, 'proxy: "127.0.0.1:0"', f'proxy: "{address}"')
        assert address in start_fails(tmp_path, 'status: "127.0.0.1:0"', f'status: "{address}"')


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    assert "/dev/null is not a directory" in start_fails(tmp_path, f"{tmp_path}/var", "/dev/null/var")


def test_a_file_with_a_mistake(tmp_path: Path) -> None:
    assert start_fails(tmp_path, "tiers:", "tierz:").endswith(
        "demo.yaml: line 6: tierz: unknown key `tierz`, did you mean `tiers`?"
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = run("serve", tmp_path / "nope.yaml")
    assert (result.returncode, result.stderr.count("\n")) == (3, 1)
    assert "No such file" in result.stderr

"""`tollkeeper models pull` and `models cache` against a hub that the tests run: files, ranges, checksums, cuts."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import COMMAND
from tests.hub import COMMIT, LATER, MODEL, TOKEN, WEIGHTS, Hub, serving


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


class Caller:
    """Runs `tollkeeper models` in a home of its own, in a folder of its own."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "home" / "hub"
        self._environment = {
            **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.port}", "HF_HOME": str(folder / "home"),
            "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_TELEMETRY": "1", "FORCE_COLOR": "1",
        }  # fmt: skip

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, "models", *words], env=self._environment, cwd=self.folder, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *words: str, typed: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*COMMAND, "models", *words], input=typed, env=self._environment | environment, cwd=self.folder,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done


@pytest.fixture
def call(hub: Hub, tmp_path: Path) -> Caller:
    return Caller(hub, tmp_path)


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.incomplete"))


def test_a_whole_model_comes_into_the_cache_of_the_hub(hub: Hub, call: Caller) -> None:
    done = call("pull", MODEL)
    assert done.returncode == 0, done.stderr
    snapshot = call.cache / "models--lab--tiny" / "snapshots" / COMMIT
    assert done.stdout.strip() == str(snapshot)
    assert {name: (snapshot / name).read_bytes() for name in hub.files} == hub.files
    assert (call.cache / "models--lab--tiny" / "refs" / "main").read_text() == COMMIT
    assert "model.safetensors" in done.stderr and "24.0/24.0 MB" in done.stderr, "progress goes to standard error"
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert not parts(call.cache)
    hub.ranges.clear()
    assert call("pull", MODEL).stdout == done.stdout and hub.ranges == [], "what is there is not fetched again"


def test_one_file_comes_into_a_folder(hub: Hub, call: Caller) -> None:
    done = call("pull", f"{MODEL}:sub/*", "--to", "models/tiny")
    assert (done.returncode, done.stdout) == (0, "models/tiny\n")
    assert [str(path.relative_to(call.folder)) for path in call.folder.rglob("*.*")] == ["models/tiny/sub/README.md"]


def test_a_cut_is_mended_within_one_command(hub: Hub, call: Caller) -> None:
    hub.cuts = 1
    done = call("pull", f"{MODEL}:model.safetensors")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == WEIGHTS
    assert len(hub.ranges) == 2 and hub.ranges[1].startswith("bytes=1"), hub.ranges


@pytest.mark.parametrize("words", [(), ("--to", "models")])
def test_the_next_command_goes_on_where_one_broke_off(hub: Hub, call: Caller, words: tuple[str, ...]) -> None:
    hub.cuts, hub.failures = 1, 1
    broken = call("pull", f"{MODEL}:model.safetensors", *words)
    assert broken.returncode == 1
    assert "the hub answered 500; what came is kept, the same command goes on there" in broken.stderr
    (part,) = parts(call.folder)
    kept = part.stat().st_size
    assert kept >= 10_000_000
    hub.ranges.clear()
    done = call("pull", f"{MODEL}:model.safetensors", *words)
    assert done.returncode == 0, done.stderr
    path = Path(call.folder, done.stdout.strip())
    assert (path / "model.safetensors" if words else path).read_bytes() == WEIGHTS
    assert hub.ranges == [f"bytes={kept}-"] and not parts(call.folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGKILL, -signal.SIGKILL)])
def test_what_came_before_an_interruption_is_kept(hub: Hub, call: Caller, number: signal.Signals, code: int) -> None:
    hub.stalls = True
    with call.start("pull", f"{MODEL}:model.safetensors") as process:
        deadline = time.monotonic() + 20
        while not any(part.stat().st_size for part in parts(call.cache)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        told = process.communicate(timeout=10)[1]
    assert process.returncode == code
    assert ("interrupted; what came is kept" in told) == (number == signal.SIGINT) and "Traceback" not in told
    (part,) = parts(call.cache)
    kept = part.stat().st_size
    assert kept, "killed within a write, it may be any part of a block"
    hub.stalls = False
    hub.ranges.clear()
    assert Path(call("pull", f"{MODEL}:model.safetensors").stdout.strip()).read_bytes() == WEIGHTS
    assert hub.ranges == [f"bytes={kept}-"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_wrong_checksum_is_refused(hub: Hub, call: Caller, name: str) -> None:
    hub.corrupt = True
    done = call("pull", f"{MODEL}:{name}")
    assert done.returncode == 1 and done.stdout == ""
    assert f"{name} came with another checksum than the hub tells: it was thrown away" in done.stderr
    assert not [path for path in call.cache.rglob("*") if path.is_file()], "nothing of it stays"


@pytest.mark.parametrize("name", ["tiny", "../../etc/passwd", "/etc/passwd", "a/b/c", "a/..", "lab/ti\nny"])
def test_s49_ids_never_become_paths(hub: Hub, call: Caller, name: str) -> None:
    done = call("pull", name)
    assert done.returncode == 1 and "is no model of the hub" in done.stderr
    assert not hub.tokens, "the hub was not even asked"


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/../../evil"])
def test_s49_names_of_files_lead_nowhere_else(hub: Hub, call: Caller, name: str) -> None:
    hub.files[name] = b"evil"
    done = call("pull", MODEL, "--to", "here/there")
    assert done.returncode == 1 and "leads out of its folder" in done.stderr
    assert not list(call.folder.rglob("evil*"))


def test_what_the_hub_has_not_is_told(hub: Hub, call: Caller) -> None:
    assert "the hub has no model lab/huge, or it is private" in call("pull", "lab/huge").stderr
    assert f"{MODEL} has no file x.gguf; it has config.json, model.safeten" in call("pull", f"{MODEL}:x.gguf").stderr
    hub.files |= {"a-Q4.gguf": b"4", "a-Q8.gguf": b"8"}
    assert "several GGUF files: add :FILE or a pattern, of a-Q4.gguf, a-Q8.gguf" in call("pull", MODEL).stderr


def test_the_token_stays_with_the_hub_where_files_lie_elsewhere(hub: Hub, call: Caller) -> None:
    hub.redirects = True
    done = call("pull", f"{MODEL}:model.safetensors")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == WEIGHTS
    assert hub.strangers_tokens == [""]


def test_a_server_that_is_no_hub_is_told(hub: Hub, call: Caller) -> None:
    hub.speaks = False
    assert "does not answer as a hub does" in call("pull", MODEL).stderr


def test_offline_is_told(call: Caller) -> None:
    assert "offline: HF_HUB_OFFLINE is set" in call("pull", MODEL, HF_HUB_OFFLINE="1").stderr
    assert (
        "offline: http://127.0.0.1:1 cannot be reached" in call("pull", MODEL, HF_ENDPOINT="http://127.0.0.1:1").stderr
    )


def test_a_file_too_large_for_plain_http_is_told(hub: Hub, call: Caller) -> None:
    class Vast(bytes):
        def __len__(self) -> int:
            return 51 * 10**9

    hub.files["model.safetensors"] = Vast()
    assert "model.safetensors has more than 50 GB: only `hf download`" in call("pull", MODEL).stderr


def test_no_space_is_told_before_a_byte_is_fetched(hub: Hub, call: Caller) -> None:
    class Vast(bytes):
        def __len__(self) -> int:
            return 40 * 10**9

    hub.files = {f"{number}.safetensors": Vast() for number in range(1000)}
    done = call("pull", MODEL)
    assert done.returncode == 1 and "no space in" in done.stderr and "40000.00 GB are needed" in done.stderr
    assert hub.ranges == []


def test_a_missing_library_is_told_with_the_cure(call: Caller) -> None:
    (call.folder / "shadow").mkdir()
    (call.folder / "shadow" / "huggingface_hub.py").write_text("raise ModuleNotFoundError(name='huggingface_hub')")
    for words in (("pull", MODEL), ("cache", "list")):
        done = call(*words, PYTHONPATH=str(call.folder / "shadow"))
        assert done.returncode == 1
        assert done.stderr == "tollkeeper: the hub's library is missing: pip install 'tollkeeper[hub]'\n"


def test_the_cache_is_listed_and_pruned(hub: Hub, call: Caller) -> None:
    assert call("cache", "list").stdout.splitlines() == ["model  version  size  refs"]
    call("pull", MODEL)
    hub.commit, hub.files["config.json"] = LATER, b'{"a": 1}'
    call("pull", MODEL)
    rows = [line.split() for line in call("cache", "list").stdout.splitlines()[1:]]
    assert rows == [[MODEL, COMMIT[:12], "24.0", "MB", "-"], [MODEL, LATER[:12], "24.0", "MB", "main"]]
    assert call("cache", "prune", typed="n\n").returncode == 1
    assert len(call("cache", "list").stdout.splitlines()) == 3, "no is no"
    assert call("cache", "prune", typed="y\n").stdout == "2 bytes freed\n", "the old config.json; the rest is shared"
    assert call("cache", "prune", "--yes").stdout == "nothing to delete\n"
    assert "not in the cache: lab/huge" in call("cache", "prune", "lab/huge", "--yes").stderr
    assert call("cache", "prune", MODEL, "--yes").stdout == "24.0 MB freed\n"
    assert not (call.cache / "models--lab--tiny").exists()


def test_what_broke_off_is_pruned(hub: Hub, call: Caller) -> None:
    hub.cuts, hub.failures = 1, 1
    call("pull", MODEL)
    (part,) = parts(call.cache)
    assert call("cache", "list").stdout.splitlines()[1].split()[:2] == [MODEL, "(part)"]
    with part.open("ab") as being_fetched:
        fcntl.flock(being_fetched, fcntl.LOCK_EX)
        assert call("cache", "prune", "--yes").stdout == "0 bytes freed\n"
        assert "is being fetched by another command" in call("pull", MODEL).stderr
    assert call("cache", "prune", "--yes").stdout.endswith(" MB freed\n")
    assert not parts(call.cache)

"""Where the benchmark works, which cores it uses, and how it starts and ends what it measures."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = Path(__file__).parent / "work"  # ignored by git: configs, state, logs, the venv of peers
PROXY_CORE = 0  # the proxy that is measured, alone
LOAD_CORE = 1  # load generator and upstream
KEY = "tk_bench_0123456789abcdef"  # known to every proxy that checks one
MODEL = "bench-model"


def free_port() -> int:
    """A port that was free a moment ago: some peers cannot bind port 0 and tell."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find(program: str) -> str | None:
    """The path of an installed program, None where it is missing."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def running(name: str, command: list[str], port: int, cores: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process on `cores`, from the moment its port answers until the block ends. Its output is in WORK."""
    log = WORK / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(["taskset", "-c", cores, *command], stdout=output, stderr=output, cwd=ROOT)
    try:
        await_port(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_port(process: subprocess.Popen[bytes], port: int, log: Path, patience: float = 60) -> None:
    """Return when something listens on `port`; raises RuntimeError with the log when it does not come to that."""
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.005)
        else:
            return
    raise RuntimeError(f"{' '.join(map(str, process.args[:5]))} did not start:\n{log.read_text()[-2000:]}")  # type: ignore[index]

"""One run of an engine: from the launch of its shim to the moment when its last process is gone."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Mapping

from gateway.backend import Launch
from gateway.engines.leftovers import Leftovers
from gateway.engines.output import Output
from gateway.engines.states import Exited
from gateway.tasks import spawn

_SHIM = os.path.join(os.path.dirname(__file__), "shim.py")
_ALLOWED = frozenset((
    "CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HIP_VISIBLE_DEVICES", "HOME", "LANG",
    "LC_ALL", "LD_LIBRARY_PATH", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PATH", "ROCR_VISIBLE_DEVICES",
    "SSL_CERT_FILE", "TMPDIR", "TZ",
))  # fmt: skip
_LAST_OUTPUT = 0.5  # seconds to wait for the last lines of an engine that has ended


class Run:
    """A process group behind its shim. `pid` is the engine's and its group's; 0 when it could not be executed.

    `over` becomes a sentence about the end when every process of the group is gone and reaped.
    """

    def __init__(self, shim: asyncio.subprocess.Process, load: str, port: int, output: Output) -> None:
        self._shim = shim
        self.load = load
        self.port = port
        self.output = output
        self.pid = 0
        self.key = ""  # what it asks of whoever sends it a request
        self.end = ""  # how it ended, in two words: `exit 1`, `signal 9`
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def shim_pid(self) -> int:
        return self._shim.pid

    def exited(self) -> Exited:
        """What is told of its end. Codes of exits mean nothing to others, signals do: 9 is what a lack of memory is."""
        cause = self.end if self.end.startswith("signal ") else "exit"
        return Exited(self.over.result(), random.random(), cause)

    def terminate(self) -> None:
        """Ask the group to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the group now."""
        self._signal(signal.SIGUSR1)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._shim.send_signal(number)


async def launch(plan: Launch, load: str, port: int, alive: int, output: Output, leftovers: Leftovers) -> Run:
    """Start the shim and wait until it tells the engine's pid; raises OSError when the shim cannot be started."""
    read_end, write_end = os.pipe()
    try:
        shim = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", _SHIM, str(alive), str(write_end), *plan.argv,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            pass_fds=(alive, write_end), env=make_environment(plan.environment), start_new_session=True,
        )  # fmt: skip
    except OSError:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    run = Run(shim, load, port, output)
    report = await _open(read_end)
    first = await report.readline()
    if first.startswith(b"pid "):
        run.pid = int(first[4:])
        leftovers.add(run.pid)
    spawn(_follow(run, shim, first, report, leftovers), f"engine {load}")
    return run


def make_environment(added: Mapping[str, str]) -> dict[str, str]:
    """What an engine may know of our environment, which may hold secrets, and what its backend adds."""
    ours = os.environ  # noqa: TID251 - nothing is configured by it: it is passed on
    return {name: ours[name] for name in _ALLOWED & ours.keys()} | dict(added)


async def _follow(
    run: Run, shim: asyncio.subprocess.Process, first: bytes, report: asyncio.StreamReader, leftovers: Leftovers
) -> None:
    """Attend the run to its end."""
    reading = spawn(_read_output(shim, run.output), f"output of {run.load}")
    lines = (first + await report.read()).decode(errors="replace").splitlines()
    try:
        if run.pid and not any(line.startswith(("exit ", "signal ")) for line in lines):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)  # the shim was killed: its last duty is ours
        await shim.wait()
        await asyncio.wait([reading], timeout=_LAST_OUTPUT)
        reading.cancel()
        run.output.finish()
        if run.pid:
            leftovers.remove(run.pid)
    finally:
        run.end = lines[-1] if lines and lines[-1].startswith(("exit ", "signal ")) else "lost"
        run.over.set_result(_tell(lines))


def _tell(lines: list[str]) -> str:
    """The end in words, from the shim's report."""
    if errors := [line.removeprefix("error ") for line in lines if line.startswith("error ")]:
        return f"could not be executed: {errors[0]}"
    kind, _, value = (lines[-1] if lines else "").partition(" ")
    if kind == "signal":
        return f"was ended by {signal.Signals(int(value)).name}"
    return f"ended with exit code {value}" if kind == "exit" else "ended, as its shim was killed"


async def _read_output(shim: asyncio.subprocess.Process, output: Output) -> None:
    assert shim.stdout is not None
    while data := await shim.stdout.read(65536):
        output.feed(data)


async def _open(read_end: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    file = os.fdopen(read_end, "rb", 0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader

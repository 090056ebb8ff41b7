"""The process between the supervisor and an engine. It sees to it that the engine never outlives the supervisor.

    python -I -S shim.py ALIVE REPORT COMMAND [ARGUMENT...]

ALIVE is the read end of a pipe whose only write end the supervisor holds: end of file means that the supervisor is
gone, however it died. REPORT is the write end of a pipe on which lines are written: `pid N`, then `exit CODE`,
`signal N` or `error TEXT`. The engine runs in a session of its own. SIGTERM is passed on to its process group,
SIGUSR1 kills the group; nothing of the group is left when the shim ends. The shim's own status is the engine's, or
128 + the number of the signal that ended it.

This file stands alone and imports little, so that it starts fast: it costs one small process per engine.
"""

import ctypes
import os
import resource
import select
import signal
import sys
from typing import NoReturn

GRACE = 2.0  # seconds between SIGTERM and SIGKILL when the supervisor is gone
_HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # which would be inherited
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h


def main() -> NoReturn:
    alive, report, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.umask(0o077)
    waker, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in _HANDLED:
        signal.signal(number, lambda *_: None)
    engine = _start(command, report)
    _tell(report, f"pid {engine}")
    status = _watch(engine, alive, waker)
    _signal_group(engine, signal.SIGKILL)  # whatever the engine left behind
    code = os.waitstatus_to_exitcode(status)
    _tell(report, f"exit {code}" if code >= 0 else f"signal {-code}")
    os._exit(code if code >= 0 else 128 - code)  # at once: somebody waits for its memory


def _start(command: list[str], report: int) -> int:
    """Fork and execute; returns the engine's pid, which is its process group's too."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)  # none may meet our handlers in the child
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        return pid
    try:
        os.setsid()
        if prctl is not None:
            prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should this shim be killed
        if os.getppid() != parent:
            os._exit(127)  # it was killed before that took effect
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold prompts
        for number in (*_HANDLED, *_IGNORED_BY_PYTHON):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        _close_others(report)
        os.execvpe(command[0], command, os.environ)  # noqa: TID251 - the environment that the supervisor made
    except OSError as error:
        _tell(report, f"error {command[0]}: {error.strerror}")
    os._exit(127)


def _close_others(report: int) -> None:
    """The engine inherits its three standard descriptors and nothing else."""
    os.set_inheritable(report, False)
    os.closerange(3, report)
    os.closerange(report + 1, 65536)


def _watch(engine: int, alive: int, waker: int) -> int:
    """Wait for the engine's end; returns its wait status."""
    watched = [waker, alive]
    while True:
        readable = select.select(watched, [], [], None if alive in watched else GRACE)[0]
        if waker in readable:
            for number in os.read(waker, 64):
                _pass_on(engine, number)
            done, status = os.waitpid(engine, os.WNOHANG)
            if done:
                return status
        if alive in readable:
            _signal_group(engine, signal.SIGTERM)
            watched.remove(alive)
        if not readable:
            _signal_group(engine, signal.SIGKILL)


def _pass_on(engine: int, number: int) -> None:
    if number == signal.SIGTERM:
        _signal_group(engine, signal.SIGTERM)
    elif number == signal.SIGUSR1:
        _signal_group(engine, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # nobody left; macOS says "not permitted" of zombies
        pass


def _tell(report: int, line: str) -> None:
    try:
        os.write(report, f"{line}\n".encode())
    except OSError:  # the supervisor is gone
        pass


if __name__ == "__main__":
    main()

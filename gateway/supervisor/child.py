"""One child process and its link. It is exec'd with listed descriptors and ends when the supervisor does."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple

from gateway.link import Link
from gateway.tasks import spawn

_START = 30.0  # seconds from exec to Ready
_LAST_WORDS = 2.0  # seconds in which what a dead child has sent is still read


class ChildFailed(Exception):
    """The child did not become ready; the text says why."""


class Child:
    """A worker or control. `on_exit` is called once, with the exit code, when the process is gone and reaped."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, link: Link, silent: asyncio.Event) -> None:
        self.name = name
        self.pid = process.pid
        self.link = link
        self.code: int | None = None
        self.gone = asyncio.Event()
        self._silent = silent  # the link has ended: nothing it said is still under way
        self._process = process
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait_ready(self) -> None:
        """Until it says `Ready`. Raises ChildFailed."""
        try:
            async with asyncio.timeout(_START):
                await asyncio.shield(self._ready)
        except TimeoutError:
            self.kill()
            raise ChildFailed(f"{self.name} was not ready after {_START:g} s") from None

    def be_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    @property
    def was_ready(self) -> bool:
        return self._ready.done() and self._ready.exception() is None

    def fail(self, reason: str) -> None:
        """It cannot do its work, or has ended."""
        if not self._ready.done():
            self._ready.set_exception(ChildFailed(reason))
            self._ready.exception()  # nobody may be waiting

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    async def reap(self, on_exit: Callable[["Child"], None]) -> None:
        self.code = await self._process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._silent.wait()
        self.fail(f"{self.name} ended with {describe_exit(self.code)}")
        self.link.close()
        self.gone.set()
        on_exit(self)


class Spec(NamedTuple):
    """What to start: a module, the name that the child goes by, arguments, and descriptors they speak of."""

    module: str
    name: str
    arguments: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()


class Family:
    """Starts children. `alive` is the read end of the pipe that ends with the supervisor."""

    def __init__(self, alive: int, around: Callable[[], AbstractContextManager[object]]) -> None:
        self._alive = alive
        self._around = around
        self.pids: set[int] = set()

    async def start(self, spec: Spec, handle: Callable[[Child, Any], Any], on_exit: Callable[[Child], None]) -> Child:
        """Exec the child; `handle(child, message)` gets what it says. Raises OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        child: Child
        silent = asyncio.Event()

        def receive(message: Any) -> Any:
            return handle(child, message)

        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", spec.module, "--link", str(theirs.fileno()), "--alive", str(self._alive),
                *spec.arguments, stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._alive, *spec.descriptors),
                start_new_session=True,  # a signal to the group, as from a terminal, is the supervisor's to act on
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pids.add(process.pid)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(lambda: Link(receive, silent.set, self._around), sock=ours)
        child = Child(spec.name, process, link, silent)

        def leave(gone: Child) -> None:
            self.pids.discard(gone.pid)
            on_exit(gone)

        spawn(child.reap(leave), f"reap {spec.name}")
        return child


def describe_exit(code: int) -> str:
    """An exit code as asyncio gives it, for a person."""
    if code >= 0:
        return f"exit code {code}"
    return f"signal {next((known.name for known in signal.Signals if known == -code), str(-code))}"

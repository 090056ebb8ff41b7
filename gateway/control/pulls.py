"""Pulls of models from the hub, each in a child process, so that one can be cancelled and none holds up the others.

What a pull had fetched is kept when it ends, however it ended: the next one of the same model goes on there.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import msgspec

from gateway.control.consumer import DirectoryError
from gateway.tasks import spawn

_AT_ONCE = 2
_REMEMBERED = 50
_LINE = 1 << 20  # bytes of a line, at most

State = Literal["running", "done", "failed", "cancelled"]


class File(msgspec.Struct):
    """Bytes."""

    size: int
    there: int


class Pull(msgspec.Struct):
    """Moments are unix seconds, 0 for not yet. `path` is where the model lies once it is done."""

    id: str
    model: str
    started: float
    state: State = "running"
    files: dict[str, File] = {}
    path: str = ""
    error: str = ""
    ended: float = 0.0

    @property
    def is_over(self) -> bool:
        return self.state != "running"


class _Said(msgspec.Struct):
    """A line of the child's."""

    file: str = ""
    size: int = 0
    there: int = 0
    path: str = ""
    error: str = ""


class Pulls:
    """Starts and remembers pulls; `clock` is unix microseconds, `new_id` names them."""

    def __init__(self, clock: Callable[[], int], new_id: Callable[[], str]) -> None:
        self._clock = clock
        self._new_id = new_id
        self._pulls: dict[str, Pull] = {}
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._changed = asyncio.Event()

    def list_all(self) -> list[Pull]:
        """Those that run and the last ones that ended, the newest first."""
        return list(reversed(self._pulls.values()))

    def find(self, id: str) -> Pull | None:
        return self._pulls.get(id)

    async def start(self, model: str) -> Pull:
        """Begin a pull of `org/name[:file]`. Raises DirectoryError where that cannot be now."""
        running = [pull for pull in self._pulls.values() if not pull.is_over]
        if any(pull.model == model for pull in running):
            raise DirectoryError(f"{model} is being pulled already")
        if len(running) >= _AT_ONCE:
            raise DirectoryError(f"{_AT_ONCE} pulls run already; wait for one of them, or cancel it")
        pull = Pull(self._new_id(), model, self._clock() / 1e6)
        self._pulls[pull.id] = pull
        self._forget()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "gateway.hub", model, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=_LINE,
        )  # fmt: skip
        self._children[pull.id] = child
        spawn(self._follow(pull, child), f"pull {pull.id}")
        return pull

    def cancel(self, pull: Pull) -> None:
        """End it, if it runs."""
        if not pull.is_over:
            pull.state = "cancelled"
            self._end(pull.id)

    async def wait(self, seconds: float) -> None:
        """Until any pull has changed, for at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def close(self) -> None:
        for id in list(self._children):
            self._end(id)

    def _end(self, id: str) -> None:
        with suppress(KeyError, ProcessLookupError):
            self._children[id].terminate()

    def _forget(self) -> None:
        over = [id for id, pull in self._pulls.items() if pull.is_over]
        for id in over[: max(0, len(self._pulls) - _REMEMBERED)]:
            del self._pulls[id]

    async def _follow(self, pull: Pull, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        while line := await child.stdout.readline():
            self._take(pull, line)
        code = await child.wait()
        del self._children[pull.id]
        pull.ended = self._clock() / 1e6
        if pull.state == "running":
            pull.state = "done" if code == 0 else "failed"
            if code and not pull.error:
                pull.error = f"its process ended with code {code}"
        self._tell()

    def _take(self, pull: Pull, line: bytes) -> None:
        with suppress(msgspec.MsgspecError):
            said = msgspec.json.decode(line, type=_Said)
            if said.file:
                pull.files[said.file] = File(said.size, said.there)
            pull.path, pull.error = said.path or pull.path, said.error or pull.error
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

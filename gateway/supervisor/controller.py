"""Keeps the control process alive. Requests do not notice when it dies: what they ask of it waits for its successor."""

import asyncio
import logging
import random
from contextlib import suppress
from typing import Any

import msgspec

import gateway
from gateway.link import Configure, Drain, Failed, Hello, Ready, StoreState, WriterGone
from gateway.metrics import make_board_file
from gateway.settings.load import plain
from gateway.settings.schema import Config
from gateway.supervisor.child import Child, ChildFailed, Spec, describe_exit
from gateway.supervisor.generation import Resources
from gateway.supervisor.listening import Listeners
from gateway.tasks import spawn

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds until control is started again
_STABLE = 10.0  # seconds of life after which earlier deaths are forgotten
_JUDGE = 60.0  # seconds it gets to see a store that is not its own
_DRAIN = 5.0  # seconds it gets at the end to store what is in the journals

_log = logging.getLogger("tollkeeper")


class Controller:
    """Starts control, starts it again, and ends it last."""

    def __init__(self, shared: Resources, config: Config) -> None:
        self._shared = shared
        self._config = config
        self._child: Child | None = None
        self._ending = False
        self._pause = _FIRST_PAUSE
        self._started = 0.0
        self._word: asyncio.Future[str] = asyncio.get_running_loop().create_future()  # its first: why not, or nothing
        self.restarts = 0
        self.admin = Listeners()  # the admin address: bound here, so that it outlives control

    async def start(self) -> None:
        self._started = asyncio.get_running_loop().time()
        board = make_board_file()
        admin = self.admin.descriptors()
        arguments = ("--metrics", str(board), *[part for one in admin for part in ("--admin", str(one))])
        spec = Spec("gateway.control", "control", arguments, (board, *admin))
        self._child = await self._shared.family.start(spec, self._receive, self._bury)
        self._shared.fold.adopt("control", board)

    async def judge(self) -> None:
        """Wait until control has seen the store that replicas share; one that is away may come later.

        Raises ChildFailed where it is not for this version.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_JUDGE):
                if reason := await asyncio.shield(self._word):
                    raise ChildFailed(reason)

    def listen(self, admin: str) -> None:
        """Bind the admin address, if there is one, for all that control will be. Raises OSError with a sentence."""
        try:
            self.admin.bind([admin] if admin else [])
        except OSError as error:
            raise OSError(f"{error} (`listen.admin`, which may be empty)") from None

    async def stop(self) -> None:
        """Let it store what is left, then see it gone."""
        self._ending = True
        child = self._child
        if child is None:
            return
        child.link.tell(Drain(_DRAIN))
        try:
            async with asyncio.timeout(_DRAIN):
                await child.gone.wait()
        except TimeoutError:
            child.kill()
            await child.gone.wait()

    def configure(self, config: Config) -> None:
        """The file was read again: keys of its consumers and the request log heed it."""
        self._config = config
        if self._shared.desk.control is not None:
            self._shared.desk.control.link.tell(self._describe_config())

    def _describe_config(self) -> Configure:
        data = msgspec.msgpack.encode(plain(self._config))
        shared = self._shared
        return Configure(0, data, shared.boot, shared.directory, shared.token)

    def describe(self) -> dict[str, Any]:
        store = self._shared.desk.store
        return {
            "pid": self._child.pid if self._child is not None else None, "restarts": self.restarts,
            "store_up": store.up, "lag": store.lag, "lost": store.lost,
        }  # fmt: skip

    def _receive(self, child: Child, message: Any) -> Any:
        desk = self._shared.desk
        if isinstance(message, Ready | StoreState | Failed) and not self._word.done():
            self._word.set_result(message.reason if isinstance(message, Failed) else "")
        match message:
            case Hello() if message.version != gateway.__version__:
                return Failed(f"version {gateway.__version__} runs: restart needed")
            case Hello():
                return self._describe_config()
            case Ready():
                child.be_ready()
                desk.control = child
                for writer in desk.unsettled:
                    child.link.tell(WriterGone(writer))
                return None
        return desk.answer_control(child, message)

    def _bury(self, child: Child) -> None:
        self._shared.desk.control = None
        self._shared.fold.retire("control")
        self._child = None
        if self._ending:
            return
        self.restarts += 1
        _log.error("control died: %s", describe_exit(child.code or 0))
        lived = asyncio.get_running_loop().time() - self._started
        self._pause = _FIRST_PAUSE if lived > _STABLE else min(self._pause * 2, _LONGEST_PAUSE)
        spawn(self._revive(), "revive control")

    async def _revive(self) -> None:
        await asyncio.sleep(self._pause * random.uniform(0.8, 1.2))
        if not self._ending:
            await self.start()

"""Asking an engine over HTTP whether it works, at the pace that its state asks for."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway.engines.effort import Effort
from gateway.engines.listener import find_foreigner
from gateway.engines.outfit import Outfit
from gateway.engines.ration import measure
from gateway.engines.run import Run
from gateway.engines.states import Answered, Condemned, Doubted, Event, Missed, State, Unusable
from gateway.engines.stillness import QUIET, Stillness
from gateway.tasks import spawn

if TYPE_CHECKING:
    import aiohttp

_PAUSE = 3.0  # seconds between two probes of an engine that is ready
_SUSPECT_PAUSE = 1.0
_STARTING_PAUSE = (0.01, 0.025)  # the first, the longest: so late at most is a request that waits for the start
_PATIENCE = 4.0  # seconds that a probe waits for its answer
_SAMPLE, _SAMPLE_PATIENCE = "/v1/completions", 10.0  # where work is asked for, and how long it is waited for


class Prober:
    """Sends probes, each on a connection of its own. aiohttp is loaded with the first: it takes 0.1 s."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def ask(self, url: str, headers: Mapping[str, str], body: str = "", patience: float = 0.0) -> int:
        """The status that GET of `url`, or POST of the JSON `body`, is answered with; 0 for no answer in time."""
        import aiohttp

        if self._is_closed:  # a watch that is just ending
            return 0
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        timeout = aiohttp.ClientTimeout(patience or _PATIENCE)
        method, sent = ("POST", {**headers, "Content-Type": "application/json"}) if body else ("GET", headers)
        try:
            async with self._session.request(
                method, url, headers=sent, data=body or None, allow_redirects=False, timeout=timeout
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0

    async def close(self) -> None:
        self._is_closed = True
        if self._session is not None:
            await self._session.close()


class Watch:
    """Watches one run of an engine. `memory` is the bytes that its processes may hold together, 0 for no bound."""

    def __init__(
        self, run: Run, outfit: Outfit, prober: Prober, effort: Effort, stillness: Stillness, memory: int = 0
    ) -> None:
        self._run = run
        self._effort = effort
        self._stillness = stillness
        self._plan = outfit.launch
        self._headers = outfit.headers
        self._memory = memory
        self._prober = prober
        self._is_own = False  # the listener was looked at: a port that the engine holds nobody else takes

    async def keep(self, state: Callable[[], State], tell: Callable[[Event], None]) -> None:
        """Tell what the probes find until the run is over. `state` is the engine's of now."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        over = self._run.over
        while not over.done():
            if self._memory and (excess := await asyncio.to_thread(self._find_excess)):
                tell(excess)
            asking = spawn(self._probe(state()), f"probe of {self._run.load}")
            both: list[asyncio.Future[Any]] = [asking, over]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                asking.cancel()
            elif event := asking.result():
                tell(event)
                if self._plan.sample and isinstance(event, Answered) and state().serves:
                    await self._look_for_work(tell)
            await asyncio.wait([over], timeout=_pause(state(), loop.time() - started))

    async def _look_for_work(self, tell: Callable[[Event], None]) -> None:
        """Have an engine that seems to do nothing show that it can."""
        if not await self._stillness.is_seen():
            return
        reason = f"used no processor for {QUIET:g} s, though requests wait for it"
        tell(Doubted(reason))
        url = f"http://127.0.0.1:{self._run.port}{_SAMPLE}"
        if await self._prober.ask(url, self._headers, self._plan.sample, _SAMPLE_PATIENCE):
            self._stillness.forget()
            tell(Answered())
        else:
            tell(Condemned(f"{reason}, nor for one of ours", "stuck"))

    def _find_excess(self) -> Condemned | None:
        held = measure(self._run.pid)
        if held is None or held <= self._memory:
            return None
        return Condemned(f"holds {held:,} bytes of memory, more than its limit of {self._memory:,}", "memory")

    async def _probe(self, state: State) -> Event | None:
        """Ask once. While the engine starts, the listener is looked at first: a stranger's is never asked anything."""
        if state is State.STOPPING:
            return None
        path = self._plan.alive
        if state is State.STARTING:
            path = self._plan.ready
            if not await _is_open(self._run.port):
                return None
            if not self._is_own and (reason := find_foreigner(self._run.port, self._run.pid)):
                return Unusable(reason)
            self._is_own = True  # to look takes some 10 ms, and some engines listen long before they are ready
        trial = self._plan.trial if state is State.STARTING else ""
        status = await self._prober.ask(f"http://127.0.0.1:{self._run.port}{path}", self._headers, trial)
        if 200 <= status < 300:
            self._effort.forget()
            return Answered()
        if not status and state.serves and await self._effort.is_seen():
            return Answered()
        return Unusable(f"answered its first request with {status}") if trial and status else Missed()


async def _is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _pause(state: State, age: float) -> float:
    """Seconds until the next probe; a start is followed closely at first."""
    if state is State.STARTING:
        first, longest = _STARTING_PAUSE
        return min(longest, first + age / 20)
    return _PAUSE if state is State.READY else _SUSPECT_PAUSE

"""The client of a load test: one request, what came of it, and the purse that all requests are paid from."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from gateway.cli.loadtest.target import Target

_PATIENCE = aiohttp.ClientTimeout(total=60, sock_connect=10)
_END = b"data: [DONE]"


class Shot(msgspec.Struct, frozen=True):
    """One request and its end. Seconds count from its start; `first` is the first byte of the body.

    `fault` is what went wrong where no whole answer came. `number` is the gateway's, 0 where it refused nothing.
    """

    status: int
    started: float
    seconds: float
    first: float = 0.0
    number: int = 0
    headers: Mapping[str, str] = {}
    body: bytes = b""
    fault: str = ""

    @property
    def is_served(self) -> bool:
        return not self.fault and 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """Turned away in order: too many, or not now, and by the gateway itself."""
        return not self.fault and self.status in (429, 503) and self.number > 0


class Purse:
    """How many requests are left for the whole test."""

    def __init__(self, requests: int) -> None:
        self.left = requests

    def take(self) -> bool:
        """Pay for one request, if there is one left."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True


class Caller:
    """Sends requests to the target. Answers are read whole, whatever they are."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self.target = target
        self._now = asyncio.get_running_loop().time

    async def chat(self, stream: bool = False, **fields: Any) -> Shot:
        """A short conversation; `fields` are added to the body, and those that are None left out."""
        turns = [{"role": "user", "content": "Say hello."}]
        body = {"model": self.target.model, "messages": turns, "max_tokens": 8, "stream": stream or None, **fields}
        content = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        return await self.send("POST", self.target.path, content, is_stream=stream)

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *,
        key: str | None = None, is_stream: bool = False,
    ) -> Shot:  # fmt: skip
        """One request. `key` replaces the target's; an empty one sends none."""
        secret = self.target.key if key is None else key
        fields = {"Content-Type": "application/json"} if body else {}
        if secret:
            fields["Authorization"] = f"Bearer {secret}"
        started = self._now()
        status = 0
        try:
            async with self._session.request(
                method, self.target.url + path, data=body or None, headers={**fields, **(headers or {})},
                allow_redirects=False, timeout=_PATIENCE,
            ) as answer:  # fmt: skip
                status = answer.status
                content = await answer.content.readany()
                first = self._now() - started
                content += await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Shot(status, started, self._now() - started, fault=type(error).__name__)
        told = {name.lower(): value for name, value in answer.headers.items()}
        number = told.get("x-tollkeeper-error", "")
        is_cut = is_stream and status == 200 and _END not in content
        return Shot(
            status, started, self._now() - started, first, int(number) if number.isdecimal() else 0, told,
            content[:65_536], "the stream has no end" if is_cut else "",
        )  # fmt: skip

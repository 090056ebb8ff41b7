"""What would become of a request, told by the worker that would serve it. Nothing is sent, charged or remembered.

The whole way is rehearsed with a second set of plugins, assembled at the first question. They see the keys, limits and
shared memory that the worker's own see, but change nothing: the ledger peeks, the cache is empty and keeps nothing,
nothing is counted, nobody is told. What a plugin holds in itself (a cached answer) they do not see.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.faults import BadRequest
from gateway.http.head import RequestHead, header_names, read_head
from gateway.link import Command, Done
from gateway.memory import MemoryCache
from gateway.metrics import Board, make_board_file
from gateway.plugin import Shared
from gateway.relay.assembly import Assembly, assemble
from gateway.relay.directions import open_exchange
from gateway.relay.ids import Ids
from gateway.relay.onward import Onward
from gateway.relay.places import Places
from gateway.relay.rehearsal import Draft, PeekingLedger, Rehearsal, Step, rehearse
from gateway.relay.services import Meter, Services
from gateway.settings.schema import Config, Headers

_FRAMELESS = frozenset((204, 304))  # answers without a body, RFC 9110, 6.4.1


class LookingShared:
    """Shared memory that is read and never written."""

    def __init__(self, shared: Shared) -> None:
        self.get = shared.get

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Nothing is kept."""

    async def remove(self, key: bytes) -> None:
        """Nothing is forgotten."""

    async def add(self, key: bytes, ttl: float) -> bool:
        """As if nobody had: whether somebody has cannot be asked without being that somebody."""
        return True


class Question(msgspec.Struct, frozen=True):
    """A request as an operator describes it. `headers` are names and values, the credential among them."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    peer: str = "127.0.0.1"

    def head(self) -> RequestHead:
        """The head, checked as the server would. Raises BadRequest."""
        fields = [(header_names[name.encode("latin-1")], value.encode("latin-1")) for name, value in self.headers]
        head = read_head(self.method.encode(), self.path.encode(), "1.1", fields)
        if b"upgrade" in (head.get(b"connection") or b"").lower():
            head.upgrade = (head.get(b"upgrade") or b"").lower() or None
        return head


class Explainer:
    """Answers questions for one worker, whose `live` targets know what is in flight."""

    def __init__(self, config: Config, live: Assembly, services: Services, places: Places, generation: int) -> None:
        self._config = config
        self._live = live
        self._services = services
        self._places = places
        self._generation = generation
        self._new_id = Ids()
        self._starting = asyncio.Lock()
        self._assembly: Assembly | None = None

    async def answer(self, command: Command) -> Done:
        """The explanation as plain data. Raises msgspec.ValidationError for arguments that are none of a Question."""
        question = msgspec.convert(command.arguments, Question)
        assembly = await self._assemble()
        try:
            head = question.head()
        except BadRequest as fault:
            return Done(self._tell_head(question, fault))
        exchange = open_exchange(head, time.monotonic(), self._new_id)
        locate = assembly.directions.locate
        exchange.peer = question.peer if locate is None else locate(question.peer, head)
        exchange.request, exchange.generation = Draft(question.body), self._generation
        route, allowed = assembly.directions.enter(exchange)
        rest = Onward(assembly, self._live, self._places, route, allowed)
        done = await rehearse(route, exchange, rest.steps())
        return Done(_tell(exchange, done, rest.place, self._config.headers))

    async def stop(self) -> None:
        if self._assembly is not None:
            for plugin in self._assembly.plugins:
                await plugin.stop()

    async def _assemble(self) -> Assembly:
        async with self._starting:
            if self._assembly is None:
                assembly = assemble(self._config, time.time_ns() // 1_000_000_000, self._live.guard, self._live.way)
                services = _without_effect(self._services)
                for plugin in assembly.plugins:
                    await plugin.start(services)
                self._assembly = assembly
            return self._assembly

    def _tell_head(self, question: Question, fault: BadRequest) -> dict[str, Any]:
        """What the server says before there is a request."""
        error = GatewayError(fault.number, fault.message)
        headers = ["Content-Type: application/json", "Content-Length", "Connection: close", "X-Request-ID"]
        return {
            "method": question.method, "path": question.path, "verdict": "refused", "status": error.status,
            "error": error.number, "message": error.message, "details": {},
            "headers": [*headers, f"X-Tollkeeper-Error: {error.number}"],
            "steps": [msgspec.to_builtins(Step("head", "refused", error.number, (), error.message))],
        }  # fmt: skip


def _without_effect(services: Services) -> Services:
    file = make_board_file()
    board = Board(file)
    os.close(file)
    return msgspec.structs.replace(
        services, ledger=PeekingLedger(services.ledger), cache=MemoryCache(time.monotonic, 0, 0),
        shared=LookingShared(services.shared), metrics=Meter(board), notify=_tell_nobody,
    )  # fmt: skip


def _tell_nobody(event: str, key: str, details: Mapping[str, Any]) -> None:
    """An operator who asks is no event."""


def _tell(exchange: Exchange, done: Rehearsal, place: dict[str, Any], optional: Headers) -> dict[str, Any]:
    credential, reply, error = exchange.credential, done.reply, done.error
    told: dict[str, Any] = {
        "method": exchange.method, "path": exchange.path, "route": exchange.route, "peer": exchange.peer,
        "consumer": credential.consumer if credential is not None else "",
        "credential": credential.id if credential is not None else "",
        "tier": exchange.tier, "model_asked": exchange.model_asked,
        "cost": exchange.cost / 1000, "charged": exchange.units / 1000 if error is None else 0.0,
        "steps": msgspec.to_builtins(done.steps), "target": place,
    }  # fmt: skip
    headers = "".join(exchange.lines).splitlines()
    if error is not None:
        headers += ["Content-Type: application/json", "Content-Length", f"X-Tollkeeper-Error: {error.number}", "Date"]
        refusal = {"status": error.status, "error": error.number, "message": error.message}
        return told | {"verdict": "refused", **refusal, "details": dict(error.details), "headers": headers}
    if reply is not None:
        headers += [f"{name.decode()}: {value.decode('latin-1')}" for name, value in reply.headers]
        if reply.status not in _FRAMELESS:
            headers.append("Content-Length" if isinstance(reply.body, bytes) else "Transfer-Encoding")
        return told | {"verdict": "answered", "status": reply.status, "headers": [*headers, "Date"]}
    if "backend" not in place:
        return told | {"verdict": "answered", "status": None, "headers": headers}
    return told | {"verdict": "sent on", "status": None, "headers": [*headers, *_later(exchange, optional)]}


def _later(exchange: Exchange, optional: Headers) -> list[str]:
    """Headers that are only known when the model server answers."""
    names = ["X-Tollkeeper-Overhead-Ms", "X-Tollkeeper-Queue-Ms", "X-Tollkeeper-Upstream-Ms"] if optional.timing else []
    if optional.routing:
        names += ["X-Tollkeeper-Model"] * bool(exchange.model) + ["X-Tollkeeper-Backend"]
        names += ["X-Tollkeeper-Fallback"] * (exchange.detour is not None and exchange.detour.has_fallen)
    return names

"""The worker's view of the directory: keys of the configuration, and a bounded memory of those that were looked up."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from gateway.errors import GatewayError
from gateway.exchange import Credential
from gateway.link import Command, Done, Failed, Found, LookUp
from gateway.settings.credentials import parse_expiry
from gateway.settings.roles import narrow_methods
from gateway.settings.schema import Consumer, Override

_KNOWN = 50_000  # keys remembered
_UNKNOWN = 10_000  # digests of keys that do not exist, remembered apart so that guessing pushes no real key out

Call = Callable[[LookUp | Command], "asyncio.Future[Any]"]


def read_consumers(consumers: Mapping[str, Consumer]) -> Iterable[tuple[bytes, Credential]]:
    """The keys of the configuration by digest."""
    for name, consumer in consumers.items():
        override = consumer.override or Override()
        for key in consumer.keys:
            expires = parse_expiry(key.expires)
            yield (
                bytes.fromhex(key.sha256),
                Credential(
                    key.id or key.sha256[:12], name, consumer.tier, consumer.project, expires, consumer.models,
                    consumer.routes, key.models, key.routes, override_tier=override.tier,
                    override_until=parse_expiry(override.until), role=consumer.role,
                    methods=narrow_methods(consumer.methods, key.methods), addresses=consumer.addresses,
                ),
            )  # fmt: skip


class Directory:
    """Answers from memory, else asks over the link. Entries stay until `forget`; several askers share one question."""

    def __init__(self, fixed: Iterable[tuple[bytes, Credential]], call: Call) -> None:
        self._fixed = dict(fixed)
        self._call = call
        self._known: OrderedDict[bytes, Credential] = OrderedDict()
        self._unknown: OrderedDict[bytes, None] = OrderedDict()
        self._flights: dict[bytes, asyncio.Future[Any]] = {}
        self._changes = 0

    def look_up(self, digest: bytes) -> Credential | Awaitable[Credential | None] | None:
        """The holder of a key, or None; an awaitable where the directory must be asked."""
        found = self._fixed.get(digest)
        if found is not None:
            return found
        found = self._known.get(digest)
        if found is not None:
            self._known.move_to_end(digest)
            return found
        if digest in self._unknown:
            return None
        return self._ask(digest)

    def forget(self, digests: Iterable[bytes]) -> None:
        """Drop entries that changed; no digest at all: drop everything."""
        self._changes += 1
        self._flights.clear()  # who asks from now on wants a newer answer than those that are under way
        digests = tuple(digests)
        if not digests:
            self._known.clear()
            self._unknown.clear()
        for digest in digests:
            self._known.pop(digest, None)
            self._unknown.pop(digest, None)

    async def _ask(self, digest: bytes) -> Credential | None:
        changes = self._changes
        flight = self._flights.get(digest)
        if flight is None:
            flight = self._flights[digest] = self._call(LookUp(digest))
            flight.add_done_callback(lambda done: self._land(digest, done))
        try:
            answer = await asyncio.shield(flight)
        except ConnectionError:
            raise GatewayError(1602, headers={"Retry-After": "1"}) from None
        if not isinstance(answer, Found):
            raise GatewayError(1602, headers={"Retry-After": "1"})
        if changes == self._changes:  # else it may be older than the change
            self._remember(digest, answer.credential)
        return answer.credential

    async def rotate(self, credential: Credential, overlap: float) -> dict[str, Any]:
        """A new key in place of `credential`'s, which ends in `overlap` seconds: `id`, `consumer` and `key`.

        Raises GatewayError 1401 where that cannot be, 1604 where nobody can do it now.
        """
        wish = {"id": credential.id, "consumer": credential.consumer, "overlap": overlap}
        try:
            answer = await self._call(Command("me.rotate", wish))
        except ConnectionError:
            raise GatewayError(1604, headers={"Retry-After": "1"}) from None
        if isinstance(answer, Done):
            made: dict[str, Any] = answer.data
            return made
        if isinstance(answer, Failed) and answer.number < 1600:
            raise GatewayError(1401, f"{answer.reason[:1].upper()}{answer.reason[1:]}.")
        raise GatewayError(1604, headers={"Retry-After": "1"})

    def _land(self, digest: bytes, flight: asyncio.Future[Any]) -> None:
        if self._flights.get(digest) is flight:
            del self._flights[digest]

    def _remember(self, digest: bytes, credential: Credential | None) -> None:
        if credential is None:
            self._unknown[digest] = None
            if len(self._unknown) > _UNKNOWN:
                self._unknown.popitem(last=False)
            return
        self._known[digest] = credential
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

"""What a caller can learn and change about himself: `GET /api/v1/me`, `POST /api/v1/me/keys/rotate`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange, Reply
from gateway.plugin import AnyPlugin, BasePlugin, BaseSettings, Services
from gateway.relay.directory import Directory
from gateway.relay.registry import Registry
from gateway.wire import parse_object

_LONGEST_OVERLAP = 7 * 86_400  # seconds
_BODY = 4096  # bytes
_JSON = (b"content-type", b"application/json")
_SECRET = [_JSON, (b"cache-control", b"no-store")]
_OWN = [_JSON, (b"cache-control", b"private, no-cache")]


class _Rotation(msgspec.Struct, forbid_unknown_fields=True):
    overlap: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_OVERLAP)] = 0.0


class Me(BasePlugin[BaseSettings]):
    """The two pages. Started with the plugins, as it needs the directory; it has no hooks.

    `chain` is the default one, whose plugins describe what they know of the caller.
    """

    def __init__(self, registry: Registry, chain: Sequence[tuple[str, AnyPlugin]]) -> None:
        super().__init__(BaseSettings())
        self._registry = registry
        self._plugins = [plugin for _, plugin in chain]

    async def start(self, services: Services) -> None:
        self._directory = cast(Directory, services.directory)  # the worker's own can do more than the contract says
        self._clock = services.clock

    async def show(self, exchange: Exchange) -> Reply:
        """GET /api/v1/me: who the caller is, what he may, and what he has left. Never the key."""
        credential = _known(exchange)
        data: dict[str, Any] = {
            "consumer": credential.consumer, "project": credential.project, "role": credential.role,
            "credential": {"id": credential.id, "kind": credential.kind, "expires": _moment(credential.expires)},
            "tier": exchange.tier or credential.tier, "permissions": ["*"],
            "methods": list(credential.methods) or ["*"], "models": self._registry.visible(credential),
        }  # fmt: skip
        for plugin in self._plugins:
            data |= await plugin.describe(exchange)
        return self._reply(exchange, 200, data, _OWN)

    async def rotate(self, exchange: Exchange) -> Reply:
        """POST /api/v1/me/keys/rotate: a new key in place of the one that is used, which ends after `overlap` seconds.

        The answer holds the new key, for the only time. Raises GatewayError 1401 for a credential that is no key of
        the store, 1604 when the directory cannot be changed now.
        """
        credential = _known(exchange)
        body = exchange.body if exchange.body is not None else await exchange.request.read(_BODY)
        wish = _read_wish(body)
        if credential.kind != "key":
            raise GatewayError(1401, f"A {credential.kind} credential is not rotated here; its issuer renews it.")
        made = await self._directory.rotate(credential, wish.overlap)
        data = {**made, "replaces": credential.id, "overlap": wish.overlap}
        return self._reply(exchange, 201, data, _SECRET)

    def _reply(self, exchange: Exchange, status: int, data: Any, headers: list[tuple[bytes, bytes]]) -> Reply:
        now = self._clock.monotonic()
        meta = {
            "timestamp": _moment(self._clock.wall()), "execution_time_ms": round((now - exchange.received) * 1000),
            "cached": False, "version": "1.0", "request_id": exchange.request_id,
        }  # fmt: skip
        return Reply(status, [*headers], msgspec.json.encode({"status": "success", "data": data, "meta": meta}))


def _known(exchange: Exchange) -> Credential:
    assert exchange.credential is not None  # `auth: required`
    return exchange.credential


def _read_wish(body: bytes) -> _Rotation:
    if not body:
        return _Rotation()
    parse_object(body, 4)
    try:
        return msgspec.json.decode(body, type=_Rotation)
    except msgspec.ValidationError:
        text = f"The body may hold `overlap` alone: seconds, 0 to {_LONGEST_OVERLAP}."
        raise GatewayError(1214, text, param="overlap") from None


def _moment(seconds: float) -> str | None:
    """Unix seconds as RFC 3339 in UTC; None for 0."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None

"""The life cycle of models, for callers: which are loaded, load one, unload one. Below `/v1/models`.

A model's `status` is loaded, loading, unloading, unloaded or failed, and `remote` where somebody else runs its server.
To load or unload takes the permission `models:load`, where a plugin authorizes, and the tier's `may_load`; where
others must make room for it, and to unload, `may_evict`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Reply
from gateway.relay.claim import find_tier
from gateway.relay.places import Places
from gateway.relay.registry import Entry, Registry, may_see_model
from gateway.settings.schema import Config

PERMISSION = "models:load"
_BELOW = "/v1/models/"
_VERBS = ("/load", "/preload")
_UNLOAD = 10.0  # seconds that an answer waits for the engine's end
_JSON = (b"content-type", b"application/json")
_FACTS = ("load_seconds", "in_use", "waiting", "restarts", "memory", "pinned", "idle")
_Lives = Mapping[str, Mapping[str, Any]]


class Life:
    """`started` is unix seconds and stands as `created` of every model. Until it has `places`, no status is told."""

    def __init__(self, registry: Registry, config: Config, started: int) -> None:
        self.places: Places | None = None
        self._registry = registry
        self._tiers = config.tiers
        self._patience = float(config.timeouts.load)
        self._started = started

    async def list_models(self, exchange: Exchange) -> Reply:
        """GET /v1/models: what the caller's key may use."""
        lives = await self._lives()
        entries = [(name, self._registry.find(name)) for name in self._registry.visible(exchange.credential)]
        data = [self._model(name, entry, lives) for name, entry in entries if entry is not None]
        return _reply({"object": "list", "data": data})

    async def show_model(self, exchange: Exchange) -> Reply:
        """GET /v1/models/{id}; one that the key may not use does not exist for it."""
        name, entry = self._find(exchange, exchange.path.removeprefix(_BELOW))
        return _reply(self._model(name, entry, await self._lives()))

    async def show_stats(self, exchange: Exchange) -> Reply:
        """GET /v1/models/stats: how each model's engine is used now; `idle` and `load_seconds` are seconds."""
        lives = await self._lives()
        rows = []
        for name in self._registry.visible(exchange.credential):
            entry = self._registry.find(name)
            if entry is not None:
                life = lives.get(entry.backend, {})
                rows.append(self._model(name, entry, lives) | {fact: life[fact] for fact in _FACTS if fact in life})
        return _reply({"object": "list", "data": rows})

    async def load(self, exchange: Exchange) -> Reply:
        """POST /v1/models/{id}/load answers when it is loaded, /preload at once. Raises what a request for it would."""
        verb = next((verb for verb in _VERBS if exchange.path.endswith(verb)), None)
        if verb is None:
            text = f"{exchange.path} takes no POST; {_BELOW}<id>/load and {_BELOW}<id>/preload do."
            raise GatewayError(1207, text, headers={"Allow": "DELETE, GET, HEAD"})
        name, entry = self._find(exchange, exchange.path.removeprefix(_BELOW).removesuffix(verb))
        await self._own_life(entry)
        tier = find_tier(exchange, self._tiers)
        patience = self._patience if verb == "/load" else 0.0
        life = await self._ask(
            "models.load", backend=entry.backend, patience=patience, may_load=tier.may_load, may_evict=tier.may_evict
        )
        return _reply(self._model(name, entry, {entry.backend: life}), 200 if life["status"] == "loaded" else 202)

    async def unload(self, exchange: Exchange) -> Reply:
        """DELETE /v1/models/{id}: it goes when nobody uses it any more; the answer waits a while for that."""
        name, entry = self._find(exchange, exchange.path.removeprefix(_BELOW))
        if not find_tier(exchange, self._tiers).may_evict:
            text = "The tier may not unload models. Ask for one that may evict."
            raise GatewayError(1108, text, details={"rule": "tier:may_evict", "help": "a tier with may_evict"})
        life = await self._own_life(entry)
        if life["pinned"]:
            raise GatewayError(1401, f"The model {name} is pinned; the operator alone unloads it.")
        life = await self._ask("models.unload", backend=entry.backend, patience=_UNLOAD)
        return _reply(self._model(name, entry, {entry.backend: life}), 200 if life["status"] == "unloaded" else 202)

    def _find(self, exchange: Exchange, name: str) -> tuple[str, Entry]:
        entry = self._registry.find(name)
        if entry is None or not may_see_model(exchange.credential, entry):
            raise GatewayError(1302, f"There is no model {name[:128]!r}.", param="model")
        return name, entry

    async def _own_life(self, entry: Entry) -> Mapping[str, Any]:
        """The life of an engine that is started here. Raises 1401."""
        life = (await self._lives()).get(entry.backend)
        if life is None:
            raise GatewayError(1401, "Somebody else runs this model's server: it is neither loaded nor unloaded here.")
        return life

    async def _lives(self) -> _Lives:
        if self.places is None:
            return {}
        lives: _Lives = await self.places.command("models.lives") or {}
        return lives

    async def _ask(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        assert self.places is not None  # or there would be no life to ask about
        life: Mapping[str, Any] = await self.places.command(name, **arguments)
        return life

    def _model(self, name: str, entry: Entry, lives: _Lives) -> dict[str, Any]:
        told = {"id": name, "object": "model", "created": self._started, "owned_by": "tollkeeper"}
        return told if self.places is None else told | {"status": lives.get(entry.backend, {}).get("status", "remote")}


def _reply(value: object, status: int = 200) -> Reply:
    return Reply(status, [_JSON], msgspec.json.encode(value))

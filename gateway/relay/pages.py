"""What the gateway answers itself: the list of models a key may use, and the catalogue of errors."""

import msgspec

from gateway.errors import CATALOGUE, GatewayError
from gateway.exchange import Exchange, Reply
from gateway.relay.registry import Registry, may_see_model

_JSON = (b"content-type", b"application/json")


def _reply(value: object) -> Reply:
    return Reply(200, [_JSON], msgspec.json.encode(value))


class Pages:
    """`started` is unix seconds and stands as `created` of every model."""

    def __init__(self, registry: Registry, started: int) -> None:
        self._registry = registry
        self._started = started

    async def list_models(self, exchange: Exchange) -> Reply:
        """GET /v1/models: what the caller's key may use."""
        names = self._registry.visible(exchange.credential)
        return _reply({"object": "list", "data": [self._model(name) for name in names]})

    async def show_model(self, exchange: Exchange) -> Reply:
        """GET /v1/models/{id}; one that the key may not use does not exist for it."""
        name = exchange.path.removeprefix("/v1/models/")
        entry = self._registry.find(name)
        if entry is None or not may_see_model(exchange.credential, entry):
            raise GatewayError(1302, f"There is no model {name[:128]!r}.", param="model")
        return _reply(self._model(name))

    async def show_error(self, exchange: Exchange) -> Reply:
        """GET /errors/{number}: what a number of the catalogue means and what helps."""
        number = exchange.path.removeprefix("/errors/")
        entry = CATALOGUE.get(int(number)) if number.isascii() and number.isdigit() and len(number) == 4 else None
        if entry is None:
            raise GatewayError(1303, "There is no such number in the catalogue.")
        fields = ("number", "status", "code", "title", "cure", "category", "type")
        return _reply({name: getattr(entry, name) for name in fields})

    def _model(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "tollkeeper"}

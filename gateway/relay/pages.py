"""What the gateway answers itself: the list of models a key may use, and the catalogue of errors."""

from html import escape

import msgspec

from gateway.errors import CATALOGUE, GatewayError
from gateway.exchange import Exchange, Reply
from gateway.relay.registry import Registry, may_see_model

_JSON = (b"content-type", b"application/json")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_TOLD = ("number", "status", "code", "title", "cause", "cure", "category", "type")
_PAGE = """<!doctype html>
<html lang="en"><title>{number} {code}</title>
<body style="font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 3rem auto">
<h1>{number} {title}</h1>
<p>{cause}</p>
<p><b>What to do:</b> {cure}</p>
<p>HTTP status {status}, code <code>{code}</code>, type <code>{type}</code></p>
"""


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
        """GET /errors/{number}: what a number of the catalogue means and what helps; as a page for browsers."""
        number = exchange.path.removeprefix("/errors/")
        entry = CATALOGUE.get(int(number)) if number.isascii() and number.isdigit() and len(number) == 4 else None
        if entry is None:
            raise GatewayError(1303, "There is no such number in the catalogue.")
        varies = (b"vary", b"Accept")
        if "text/html" in (exchange.header("accept") or ""):
            return Reply(
                200,
                [_HTML, varies],
                _PAGE.format(**{name: escape(str(getattr(entry, name))) for name in _TOLD}).encode(),
            )
        return Reply(200, [_JSON, varies], msgspec.json.encode({name: getattr(entry, name) for name in _TOLD}))

    def _model(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "tollkeeper"}

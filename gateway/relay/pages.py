"""What the gateway answers itself: the catalogue of errors."""

from html import escape

import msgspec

from gateway.errors import CATALOGUE, GatewayError
from gateway.exchange import Exchange, Reply

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


async def show_error(exchange: Exchange) -> Reply:
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

"""Answers by itself, piece by piece, where the request asks for it; and changes what it sees of other answers."""

import asyncio
from collections.abc import AsyncIterator

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Exchange, Reply


class Settings(BaseSettings, frozen=True):
    pass


class Plugin(BasePlugin[Settings]):
    async def access(self, exchange: Exchange) -> Reply | None:
        wish = exchange.header("x-drip")
        return None if wish is None else Reply(200, [(b"content-type", b"text/plain")], self._drip(wish))

    async def _drip(self, wish: str) -> AsyncIterator[bytes]:
        for word in wish.split():
            if word == "fail":
                raise GatewayError(1702)
            if word == "wait":
                await asyncio.sleep(60)
            yield word.encode()

    async def response(self, exchange: Exchange) -> None:
        assert exchange.reply is not None
        wish = exchange.header("x-response")
        if wish == "refuse":
            raise GatewayError(1103)
        if wish == "status":
            exchange.reply.status = 418
            exchange.reply.headers.append((b"x-seen", b"yes"))

    def chunk(self, exchange: Exchange, data: bytes) -> bytes:
        if exchange.header("x-chunk") == "fail":
            raise ZeroDivisionError
        return data.upper()

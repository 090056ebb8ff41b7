"""Keeps whole answers of this worker, by consumer, path and body."""

from hashlib import sha256

from gateway.plugin import BasePlugin, BaseSettings, Exchange, Reply, Services


class Settings(BaseSettings, frozen=True):
    ttl: float = 60.0  # seconds


class Plugin(BasePlugin[Settings]):
    needs = "body"
    buffers = True

    async def start(self, services: Services) -> None:
        self._cache = services.cache

    def access(self, exchange: Exchange) -> Reply | None:
        assert exchange.body is not None
        who = exchange.credential.consumer if exchange.credential is not None else ""
        key = sha256(b"\0".join((who.encode(), exchange.path.encode(), exchange.body))).digest()
        kept = self._cache.get(key)
        exchange.set_header("X-Cache-Status", "miss" if kept is None else "hit")
        if kept is not None:
            return Reply(200, [(b"content-type", b"application/json")], kept)
        exchange.notes[self] = key
        return None

    def response(self, exchange: Exchange) -> None:
        key, reply = exchange.notes.get(self), exchange.reply
        if key is not None and reply is not None and reply.status == 200:
            assert isinstance(reply.body, bytes)
            self._cache.put(key, reply.body, self.settings.ttl)

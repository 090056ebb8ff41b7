"""Cannot work: nobody awaits `chunk`."""

from gateway.plugin import BasePlugin, BaseSettings, Exchange


class Settings(BaseSettings, frozen=True):
    pass


class Plugin(BasePlugin[Settings]):
    async def chunk(self, exchange: Exchange, data: bytes) -> bytes:  # type: ignore[override]
        return data

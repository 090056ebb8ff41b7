"""Cannot work: nobody awaits `log`."""

from gateway.plugin import BasePlugin, BaseSettings, Exchange


class Settings(BaseSettings, frozen=True):
    pass


class Plugin(BasePlugin[Settings]):
    async def log(self, exchange: Exchange) -> None:  # type: ignore[override]
        pass

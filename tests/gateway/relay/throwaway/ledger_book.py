"""Notes how each request ended, by the name that the client gave it."""

from gateway.plugin import BasePlugin, BaseSettings, Exchange


class Settings(BaseSettings, frozen=True):
    log_fails: bool = False


class Plugin(BasePlugin[Settings]):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.entered: list[str] = []
        self.ended: list[tuple[str, str]] = []

    def access(self, exchange: Exchange) -> None:
        self.entered.append(exchange.request_id)

    def log(self, exchange: Exchange) -> None:
        assert exchange.outcome is not None
        self.ended.append((exchange.request_id, exchange.outcome.value))
        if self.settings.log_fails:
            raise ZeroDivisionError

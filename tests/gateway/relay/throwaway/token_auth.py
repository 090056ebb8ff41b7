"""Another kind of credential: `x-token: <consumer>`."""

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Credential, Exchange


class Settings(BaseSettings, frozen=True):
    known: tuple[str, ...] = ()


class Plugin(BasePlugin[Settings]):
    authenticates = True

    def access(self, exchange: Exchange) -> None:
        token = exchange.header("x-token")
        if token is None:
            return
        if token not in self.settings.known:
            raise GatewayError(1002)
        exchange.credential = Credential(f"token-{token}", token, "free")

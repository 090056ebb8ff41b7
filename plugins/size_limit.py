"""How large a request may be, by tier.

    plugins:
      - size_limit: {body: 1MB, tiers: {free: 64KB}, query: 4KB, headers: 16KB}

Put it after the plugins that authenticate and before the first that reads the body. A body whose Content-Length is too
large is refused (1208) before a byte of it is read; one that comes in chunks is cut off at the limit, also where it is
passed on as it comes. `limits.body` and a route's `body` still hold: this plugin only lowers them. A tier that is
listed has its own figure in place of `body`; 0 is no limit. Headers that are too large are refused with 1206, a query
with 1219.
"""

import msgspec

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Bytes, Exchange, Services

ANONYMOUS = "anonymous"
_LINE = 4  # bytes of a header line beside its name and value


class Settings(BaseSettings, frozen=True):
    body: Bytes = Bytes(0)
    tiers: dict[str, Bytes] = msgspec.field(default_factory=dict)
    query: Bytes = Bytes(0)
    headers: Bytes = Bytes(0)


class Plugin(BasePlugin[Settings]):
    place = "shape"

    async def start(self, services: Services) -> None:
        self._clock = services.clock

    def access(self, exchange: Exchange) -> None:
        settings = self.settings
        if settings.query and len(exchange.query) > settings.query:
            raise _too_large(1219, "query", len(exchange.query), settings.query)
        if settings.headers:
            size = sum([len(name) + len(value) + _LINE for name, value in exchange.head.headers])
            if size > settings.headers:
                raise _too_large(1206, "headers", size, settings.headers)
        limit = self._find_limit(exchange)
        if limit:
            announced = exchange.head.get(b"content-length")
            size = int(announced) if announced is not None else len(exchange.body or b"")
            if size > limit:
                raise _too_large(1208, "body", size, limit)
            exchange.body_limit = limit

    def _find_limit(self, exchange: Exchange) -> int:
        if not self.settings.tiers:
            return self.settings.body
        credential = exchange.credential
        tier = ANONYMOUS if credential is None else credential.tier_at(self._clock.wall())
        return self.settings.tiers.get(tier, self.settings.body)


def _too_large(number: int, what: str, size: int, limit: int) -> GatewayError:
    details = {"rule": f"size_limit:{what}", "limit": limit, "used": size}
    noun = "headers are" if what == "headers" else f"{what} is"
    return GatewayError(number, f"The {noun} larger than {limit} bytes ({size}).", details=details)

"""From which addresses the gateway, or a route, may be called.

    plugins:
      - ip_restriction: {allow: [10.0.0.0/8, "2001:db8::/32"], deny: [10.6.6.6]}

`deny` wins; with `allow`, all that is not allowed is refused (1106). The address is the client's: where proxies stand
in front, say so in `listen.trusted`, or let them speak the PROXY protocol (`proxy_protocol` of the listener). `unix`
stands for the clients of unix sockets. Put it first: it costs least there. What one consumer alone may call from stands
with the consumer (`addresses`) and needs no plugin.
"""

from functools import lru_cache

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Exchange, Networks, Services

_REMEMBERED = 8192  # verdicts


class Settings(BaseSettings, frozen=True):
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.allow and not self.deny:
            raise ValueError("names no address; write `allow`, `deny` or both")
        Networks(self.allow)
        Networks(self.deny)


class Plugin(BasePlugin[Settings]):
    async def start(self, services: Services) -> None:
        self._allow, self._deny = Networks(self.settings.allow), Networks(self.settings.deny)
        self._judge = lru_cache(_REMEMBERED)(self._find_rule)

    def access(self, exchange: Exchange) -> None:
        rule = self._judge(exchange.peer)
        if rule:
            exchange.rule = rule
            address = exchange.peer or "a unix socket"
            text = f"Calls from {address} are not allowed here. Ask the operator to allow the address."
            raise GatewayError(1106, text, details={"rule": rule, "address": exchange.peer})

    def _find_rule(self, address: str) -> str:
        """The rule that refuses an address; empty where none does."""
        if self._deny.hold(address):
            return "ip_restriction:deny"
        return "ip_restriction:allow" if self._allow and not self._allow.hold(address) else ""

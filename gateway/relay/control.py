"""The way to control's API: one more backend, behind the same gate as any other."""

from collections.abc import Mapping, Sequence

from gateway.backend import BaseBackend, BaseSettings, Endpoint
from gateway.errors import CATALOGUE, GatewayError
from gateway.exchange import Exchange
from gateway.link import door
from gateway.plugin import AnyPlugin, BasePlugin
from gateway.plugin import BaseSettings as PluginSettings
from gateway.relay.target import Target
from gateway.settings import schema

_PERMISSIONS = door.PERMISSIONS.lower().encode()
_ERROR = door.ERROR.lower().encode()


class _Control(BaseBackend[BaseSettings]):
    """Control's socket, and the token that it asks for."""

    def __init__(self, way: door.Door) -> None:
        super().__init__(door.NAME, BaseSettings())
        self._way = way

    def endpoints(self) -> Sequence[Endpoint]:
        return (Endpoint(f"unix:{self._way.socket}"),)

    def request_headers(self) -> Mapping[str, str]:
        return {door.TOKEN: self._way.token}


def make_target(way: door.Door) -> Target:
    return Target(door.NAME, schema.Backend(engine=(door.NAME, {}), identity=True), _Control(way))


class Introduction(BasePlugin[PluginSettings]):
    """The last step of a chain that leads to control: what the caller may, as the plugins that authorize know it.

    Which permission a call asks for is control's to know and to check. On the way back it makes control's errors the
    gateway's own: with their number on the answer and in the row.
    """

    def __init__(self, chain: Sequence[tuple[str, AnyPlugin]]) -> None:
        super().__init__(PluginSettings())
        self._authorizing = [plugin for _, plugin in chain if plugin.authorizes]

    async def access(self, exchange: Exchange) -> None:
        permissions: list[str] | None = None
        for plugin in self._authorizing:
            held = (await plugin.describe(exchange)).get("permissions", ())
            permissions = [one for one in held if permissions is None or one in permissions]
        told = None if permissions is None else ",".join(permissions).encode("latin-1", "replace")
        exchange.replaced[_PERMISSIONS] = told

    def response(self, exchange: Exchange) -> None:
        reply = exchange.reply
        number = reply.get(_ERROR) if reply is not None else None
        if reply is None or number is None:
            return
        reply.headers = [field for field in reply.headers if field[0] != _ERROR]
        if number.isdigit() and int(number) in CATALOGUE:
            exchange.error = GatewayError(int(number))
            exchange.set_header("X-Tollkeeper-Error", number.decode())

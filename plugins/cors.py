"""Lets browser pages of other origins call the gateway (WHATWG Fetch, 3.2).

    plugins:
      - cors: {origins: ["https://app.example.com"], credentials: true}

Put it first: preflights carry no key, and refusals of later plugins need the headers too. A preflight is answered for
every path alike, so that it tells nothing about routes; a route with a chain of its own is asked for its own `cors`. An
origin that is not listed gets no CORS header at all; with a WebSocket upgrade, where browsers ask nobody, it is refused
(1103). `https://*.example.com` stands for exactly one label in the star's place, never for example.com itself.
`origins: ["*"]` allows every origin, but never together with credentials. An upstream's own CORS headers do not pass.
"""

import re

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Exchange, Reply

_EXPOSED = (
    "X-Request-ID", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Quota-Tier",
    "X-Quota-Monthly-Remaining", "X-Tollkeeper-Error", "X-Cache-Status", "ETag", "Age",
)  # fmt: skip
_is_origin = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?([a-z0-9_.-]*[a-z0-9]|\[[0-9a-f:.]+\])(:[0-9]{1,5})?").fullmatch
_LABEL = "[a-z0-9_-]{1,63}"
_DEFAULT_PORTS = (("http://", ":80"), ("https://", ":443"))


class Settings(BaseSettings, frozen=True):
    origins: tuple[str, ...]
    methods: tuple[str, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    headers: tuple[str, ...] = ("*",)  # request headers that may be sent; "*" grants what is asked for
    expose: tuple[str, ...] = _EXPOSED
    credentials: bool = False
    max_age: int = 600  # seconds a browser may remember a preflight
    private_network: bool = False

    def __post_init__(self) -> None:
        for origin in self.origins:
            _check_origin(origin)
        if self.credentials and "*" in self.origins:
            raise ValueError("`credentials` cannot go with the origin `*`: list the origins")
        if not 0 <= self.max_age <= 86_400:
            raise ValueError("`max_age` is between 0 and 86400 seconds")


class Plugin(BasePlugin[Settings]):
    place = "edge"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._origins = frozenset(settings.origins)
        self._any = "*" in self._origins
        patterns = [re.escape(origin).replace(r"\*", _LABEL) for origin in settings.origins if "*." in origin]
        self._matches = re.compile("|".join(patterns) or "(?!)").fullmatch
        self._methods = ", ".join(settings.methods)
        self._allowed = frozenset(name.lower() for name in settings.headers)
        self._expose = ", ".join(settings.expose)

    def access(self, exchange: Exchange) -> Reply | None:
        origin = exchange.header("origin")
        exchange.lines.append("Vary: Origin\r\n")  # of `*` as well: without an origin the answer has no such header
        if origin is None:
            return None
        is_preflight = exchange.method == "OPTIONS" and exchange.header("access-control-request-method") is not None
        if not (self._any or origin in self._origins or self._matches(origin)):
            if exchange.header("upgrade") is not None:
                raise GatewayError(1103)
            return Reply(204) if is_preflight else None
        exchange.set_header("Access-Control-Allow-Origin", "*" if self._any else origin)
        if self.settings.credentials:
            exchange.set_header("Access-Control-Allow-Credentials", "true")
        if is_preflight:
            return self._answer_preflight(exchange)
        if self._expose:
            exchange.set_header("Access-Control-Expose-Headers", self._expose)
        return None

    def _answer_preflight(self, exchange: Exchange) -> Reply:
        """Say what may be sent. A method or header that is not allowed is left out: the browser refuses by itself."""
        exchange.set_header("Access-Control-Allow-Methods", self._methods)
        asked = exchange.header("access-control-request-headers")
        if asked:
            names = [name.strip() for name in asked.split(",") if _is_name(name.strip())]
            granted = [name for name in names if "*" in self._allowed or name.lower() in self._allowed]
            if granted:
                exchange.set_header("Access-Control-Allow-Headers", ", ".join(granted))
        exchange.set_header("Access-Control-Max-Age", str(self.settings.max_age))
        if self.settings.private_network and exchange.header("access-control-request-private-network") == "true":
            exchange.set_header("Access-Control-Allow-Private-Network", "true")
        return Reply(204)


def _check_origin(origin: str) -> None:
    """An origin as browsers write it (RFC 6454, 6.2), else it would never match."""
    if origin in ("*", "null"):
        return
    if not _is_origin(origin):
        raise ValueError(f"`{origin}` is no origin: write scheme://host, in lower case and without a path")
    _, star, parent = origin.partition("*.")
    if star and "." not in parent and parent.partition(":")[0] != "localhost":
        raise ValueError(f"`{origin}` would allow strangers: a `*.` stands before a domain of yours")
    for scheme, port in _DEFAULT_PORTS:
        if origin.startswith(scheme) and origin.endswith(port):
            raise ValueError(f"`{origin}`: browsers leave the default port away; write {origin.removesuffix(port)}")


def _is_name(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum() and len(text) <= 128

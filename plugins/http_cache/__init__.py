"""ETags, 304 and Cache-Control for answers to GET and HEAD, and their storing (RFC 9110, 13; RFC 9111).

    plugins:
      - key_auth: {}
      - http_cache: {ttl: 60s, routes: {/v1/models: 5m}, store: true}
      - quota: {}

An answer of status 200 gets what the upstream did not give it: a strong ETag (SHA-256 of the body), `cache_control`
(default `private, max-age=<ttl>`; with a ttl of 0 `private, no-cache`) and `vary`. Then the request's conditions are
judged, whoever answered: 304 without a body, or 412 (1402). Other methods' conditions are the upstream's business.

With `store` answers are kept in this worker, all such caches together in 32 MB, for as long as the upstream says
(s-maxage, max-age, Expires), else `ttl`; nothing is guessed. Kept are whole answers of status 200 to GET, of at most
`entry` bytes, without Set-Cookie, no-store, private and no-cache; `Vary` is honoured. They are for the same `tenant`:
consumer, project or all, and for keys of the same role and scope. Between users an upstream that sends Cache-Control
must say public, s-maxage or must-revalidate (RFC 9111, 3.5). Requests with If-Match, If-Unmodified-Since, Range or
no-store bypass what is kept; no-cache, max-age and min-fresh may renew it; only-if-cached refuses where nothing is
(1810). A method that changes things drops what its caller's tenant has of the path in this worker.

Place it behind authentication and acl, since a hit ends the chain, and behind plugins that change answers: what they
made of one is kept, and given to them again. Before the quota a hit costs nothing, behind it as much as a miss. The
answers of its routes are held whole, but for streams of events.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Literal

import msgspec

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Bytes, Credential, Exchange, Reply, Seconds, Services
from gateway.wire import read_directives, read_seconds
from plugins.http_cache.condition import Validators, judge
from plugins.http_cache.stored import Shelf, Stored, find_lifetime, make_key, name_tenant, vary_names

Visit = tuple[bytes, Credential | None]  # a request that missed: its key, and whose it was then

_NAME = "http_cache"
_SAFE = frozenset(("GET", "HEAD"))
_KEPT_BY_304 = frozenset((b"etag", b"cache-control", b"content-location", b"date", b"expires", b"vary", b"age"))
_BYPASSES = (b"if-match", b"if-unmodified-since", b"range", b"if-range", b"upgrade")
_ASKED_AGAIN = (b"if-none-match", b"if-modified-since")


class Settings(BaseSettings, frozen=True):
    ttl: Seconds = Seconds(60)
    routes: dict[str, Seconds] = msgspec.field(
        default_factory=dict
    )  # by the path of a route as configured; instead of `ttl`
    cache_control: str = ""
    vary: tuple[str, ...] = ("Authorization",)
    etag: bool = True
    store: bool = False
    tenant: Literal["consumer", "project", "all"] = "consumer"
    entry: Bytes = Bytes(1_000_000)  # larger answers get no ETag of ours and are not kept

    def __post_init__(self) -> None:
        if not (self.cache_control.isascii() and (self.cache_control + "".join(self.vary)).isprintable()):
            raise ValueError("`cache_control` and `vary` are plain text in one line")


class Plugin(BasePlugin[Settings]):
    place = "answer"
    buffers = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._vary = ", ".join(settings.vary).encode()

    async def start(self, services: Services) -> None:
        self._wall, self._count = services.clock.wall, services.metrics.count
        self._shelf = Shelf(services.cache)

    def access(self, exchange: Exchange) -> Reply | None:
        if not self.settings.store or exchange.method not in _SAFE:
            return None
        head = exchange.head
        told = read_directives(head.get_all(b"cache-control")) if head.get(b"cache-control") is not None else {}
        if "no-store" in told or any(head.get(name) is not None for name in _BYPASSES):
            self._tell(exchange, "bypass")
            return None
        key = self._make_key(exchange)
        stored = self._shelf.get(key, head)
        is_renewal = "no-cache" in told or (not told and head.get(b"pragma") == b"no-cache")
        if stored is not None and not is_renewal and self._will_do(stored, told):
            self._tell(exchange, "hit")
            exchange.notes[self] = stored
            age = stored.age(self._wall())
            return Reply(200, [*stored.headers, (b"age", b"%d" % age)], stored.body)
        self._tell(exchange, "bypass" if is_renewal else "miss")
        if "only-if-cached" in told:
            raise GatewayError(1810)
        if exchange.method == "GET":
            self._ask_for_whole(exchange, key)
        return None

    def response(self, exchange: Exchange) -> None:
        reply = exchange.reply
        assert reply is not None
        if exchange.method not in _SAFE:
            if self.settings.store and 200 <= reply.status < 400 and exchange.method != "OPTIONS":
                self._shelf.drop(self._make_key(exchange))
            return
        if reply.status == 304:
            self._label(exchange, reply)
        if reply.status != 200 or not isinstance(reply.body, bytes) or reply.is_stream:
            return
        now, visit = self._wall(), exchange.notes.get(self)
        if isinstance(visit, Stored):
            _restore(reply, visit)
        else:
            self._finish(exchange, reply, reply.body, visit, now)
        verdict = judge(exchange.head, Validators(reply.get(b"etag"), reply.get(b"last-modified")), now)
        if verdict == 412:
            raise GatewayError(1402, details={"etag": (reply.get(b"etag") or b"").decode("latin-1")})
        if verdict == 304:
            _empty(reply)

    def _tell(self, exchange: Exchange, result: str) -> None:
        """Tell client, trace and metrics what the cache does."""
        exchange.cache = result
        exchange.lines.append(f"X-Cache-Status: {result}\r\n")
        self._count("cache_requests_total", _NAME, result)

    def _make_key(self, exchange: Exchange) -> bytes:
        """A HEAD finds what a GET has left (RFC 9111, 4)."""
        tenant = name_tenant(self.settings.tenant, exchange.credential, exchange.peer)
        return make_key(_NAME, tenant, exchange.scheme, exchange.head.get(b"host"), exchange.path, exchange.query)

    def _will_do(self, stored: Stored, told: Mapping[str, str]) -> bool:
        """Whether it is as fresh as the request wants it (RFC 9111, 4.2 and 5.2.1). Nothing stale is ever given."""
        age, oldest = stored.age(self._wall()), read_seconds(told.get("max-age"))
        if oldest is not None and (age > oldest or oldest == 0):
            return False
        return age + (read_seconds(told.get("min-fresh")) or 0) < stored.lifetime

    def _ask_for_whole(self, exchange: Exchange, key: bytes) -> None:
        """What is kept must be whole: the upstream is asked without the conditions, which are judged here."""
        exchange.notes[self] = (key, exchange.credential)
        for name in _ASKED_AGAIN:
            if exchange.head.get(name) is not None:
                exchange.replaced[name] = None

    def _finish(self, exchange: Exchange, reply: Reply, body: bytes, visit: Visit | None, now: float) -> None:
        """Add what is missing, and keep the answer if it may be kept."""
        names = vary_names(reply)  # before ours, which is for the caches of clients
        is_small = len(body) <= self.settings.entry
        lifetime = self._find_lifetime(exchange, reply, now) if visit is not None and is_small else 0.0
        if self.settings.etag and is_small and reply.get(b"etag") is None and _has_body(exchange):
            reply.headers.append((b"etag", b'"%b"' % sha256(body).hexdigest().encode()))
        self._label(exchange, reply)
        if visit is not None and names is not None and lifetime > 0 and visit[1] is exchange.credential:
            self._shelf.put(visit[0], exchange.head, names, _keep(reply, body, lifetime, now), now)

    def _find_lifetime(self, exchange: Exchange, reply: Reply, now: float) -> float:
        is_between_users = self.settings.tenant == "all" and exchange.credential is not None
        return find_lifetime(reply, self._find_ttl(exchange), is_between_users, now)

    def _find_ttl(self, exchange: Exchange) -> float:
        return float(self.settings.routes.get(exchange.route, self.settings.ttl))

    def _label(self, exchange: Exchange, reply: Reply) -> None:
        """Say what the caches of clients may do, where the upstream says nothing."""
        if reply.get(b"cache-control") is None and reply.get(b"expires") is None:
            ttl = self._find_ttl(exchange)
            default = f"private, max-age={ttl:.0f}" if ttl else "private, no-cache"
            reply.headers.append((b"cache-control", (self.settings.cache_control or default).encode()))
        if self._vary and (b"vary", self._vary) not in reply.headers:
            reply.headers.append((b"vary", self._vary))


def _has_body(exchange: Exchange) -> bool:
    """An upstream gives a HEAD no body to make a tag of; what is answered here has one."""
    return exchange.method == "GET" or exchange.upstream is None


def _keep(reply: Reply, body: bytes, lifetime: float, now: float) -> Stored:
    """The answer with the age that the upstream gave it (RFC 9111, 4.2.3)."""
    age = read_seconds((reply.get(b"age") or b"").decode("latin-1")) or 0
    return Stored(now - age, lifetime, [field for field in reply.headers if field[0] != b"age"], body)


def _restore(reply: Reply, stored: Stored) -> None:
    """Another plugin may have weakened the tag of what it has changed already, and not changed again."""
    if reply.body == stored.body:
        reply.headers = [field for field in reply.headers if field[0] != b"etag"]
        reply.headers += [field for field in stored.headers if field[0] == b"etag"]


def _empty(reply: Reply) -> None:
    """Make it a 304, which has no body and few headers (RFC 9110, 15.4.5)."""
    reply.status, reply.body = 304, b""
    kept = _KEPT_BY_304 if reply.get(b"etag") is not None else _KEPT_BY_304 | {b"last-modified"}
    reply.headers = [field for field in reply.headers if field[0] in kept]

"""Where a worker's requests can go: one target per backend, and the errors that its failures become."""

import math
import time
from collections.abc import Collection

from gateway.backend import AnyBackend, Balance, Blame, Hash
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome
from gateway.http.faults import UpstreamError
from gateway.http.head import Headers, RequestHead, encode_headers, request_headers
from gateway.http.origin import Origin
from gateway.http.tls import make_context
from gateway.link import door
from gateway.relay.affinity import KeyOf, find_key
from gateway.relay.balance import (
    Candidate,
    Pick,
    PowerOfTwo,
    pick_first,
    pick_hashed,
    pick_least_inflight,
    pick_weighted,
)
from gateway.relay.trace import OWN, Trace
from gateway.settings import schema

_NUMBERS = {
    "refused": 1701, "dns": 1701, "tls": 1701, "unreachable": 1701, "connect_timeout": 1801, "reset": 1702,
    "malformed": 1703, "header_too_large": 1704, "truncated": 1705, "body_too_large": 1712,
    "dns_timeout": 1801, "first_byte_timeout": 1805, "idle_timeout": 1806, "total_timeout": 1807,
}  # fmt: skip
_ORIGINS = 1024
_JSON = b"application/json"
_READ = frozenset((b"accept-encoding",))  # an answer whose usage is read must not be compressed
_POLICIES: dict[str, Pick] = {
    "least_inflight": pick_least_inflight,
    "weighted": pick_weighted,
    "first": pick_first,
}


class Target:
    """A backend as the worker uses it: its description, its endpoints, and what is known of them here."""

    __slots__ = (
        "_fixed", "_key_of", "_keys", "_origins", "_pick", "_replaced", "_tls", "backend", "candidates", "identity",
        "learns", "name", "passes", "provider",
    )  # fmt: skip

    def __init__(self, name: str, settings: schema.Backend, backend: AnyBackend) -> None:
        self.name = name
        self.provider = settings.engine[0]
        self.backend = backend
        self.candidates = [Candidate(endpoint.url, endpoint.weight) for endpoint in backend.endpoints()]
        self.identity = settings.identity
        self.passes = settings.headers
        extra = [(name.lower().encode(), value.encode()) for name, value in backend.request_headers().items()]
        self._replaced = frozenset(name for name, _ in extra)
        self._fixed = encode_headers(extra)
        self._origins: dict[str, Origin] = {}
        self._keys: dict[str, Headers] = {}  # by URL, of engines that ask for one
        self._tls = make_context(backend.tls) if backend.tls is not None else None
        self._pick, self._key_of = _find_policy(backend.balance)
        self.learns = isinstance(self._pick, PowerOfTwo)  # whether anybody asks for the latency of its endpoints

    def origin(self, url: str) -> Origin:
        """The address behind an endpoint's URL. They are few: from the configuration, or runs of an engine."""
        found = self._origins.get(url)
        if found is None:
            if len(self._origins) >= _ORIGINS:
                self._origins.clear()
            found = self._origins[url] = Origin.parse(url, self._tls)
        return found

    def learn_key(self, url: str, key: str) -> None:
        """What the engine at `url` asks of whoever sends it a request, empty for nothing."""
        if key or self._keys:
            if len(self._keys) >= _ORIGINS:
                self._keys.clear()
            self._keys[url] = [(b"authorization", b"Bearer " + key.encode())] if key else []

    def request_head(self, exchange: Exchange, url: str, strip: str, framing: bytes) -> bytes:
        """The head that goes upstream; `framing` is the line that says how long the body is."""
        origin = self.origin(url)
        path = origin.prefix + self._below(exchange.path.removeprefix(strip) or "/" if strip else exchange.path)
        query = exchange.query if exchange.forwarded_query is None else exchange.forwarded_query
        if query:
            path = f"{path}?{query}"
        head: RequestHead = exchange.request.head
        fields = request_headers(head) if self.passes else _only_content(head)
        if exchange.replaced:
            fields = _replace(fields, exchange.replaced)
        trace: Trace | None = exchange.trace
        if trace is not None and (exchange.replaced or any(map(head.get, OWN))):
            fields = [field for field in fields if field[0] not in OWN]
        if key := self._keys.get(url):
            fields = [field for field in fields if field[0] != b"authorization"] + key
        if self._replaced or (exchange.dialect is not None and head.get(b"accept-encoding") is not None):
            dropped = self._replaced | _READ
            fields = [field for field in fields if field[0] not in dropped]
        if exchange.fields is not None and not (head.get(b"content-type") or b"").startswith(_JSON):
            fields = [field for field in fields if field[0] != b"content-type"]
            fields.append((b"content-type", _JSON))  # it was read as JSON; some servers insist on the word
        identity = _identify(exchange) if self.identity else b""
        told = trace.tell(self.passes) if trace is not None else b""
        request_id = exchange.id if self.backend.wants_uuids else exchange.request_id
        if head.upgrade is not None:
            framing = b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b%bx-request-id: %b\r\n%b%b\r\n" % (
            exchange.method.encode(), path.encode("latin-1"), origin.host_header, framing,
            encode_headers(fields), told, request_id.encode(), self._fixed, identity,
        )  # fmt: skip

    def _below(self, path: str) -> str:
        """What is asked for below an endpoint's own path."""
        mount = self.backend.mount
        return path[len(mount) :] if mount and path.startswith(f"{mount}/") else path

    def pick(self, exchange: Exchange, down: Collection[str], tried: Collection[str] = ()) -> Candidate | None:
        """An endpoint that is up and not tried yet, if there is one."""
        if self._key_of is not None and (key := self._key_of(exchange)):
            return pick_hashed(self.candidates, down, tried, key)
        return self._pick(self.candidates, down, tried)

    def candidate(self, url: str) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.url == url)


def _find_policy(balance: Balance) -> tuple[Pick, KeyOf | None]:
    """How endpoints are chosen, and what makes requests alike where that matters."""
    if isinstance(balance, Hash):
        return pick_least_inflight, find_key(balance.hash)
    return (PowerOfTwo(time.monotonic) if balance == "p2c" else _POLICIES[balance]), None


def _replace(fields: Headers, changes: dict[bytes, bytes | None]) -> Headers:
    """What plugins want otherwise. Secrets of the backend come later, so no plugin replaces them."""
    kept = [field for field in fields if field[0] not in changes]
    return kept + [(name, value) for name, value in changes.items() if value is not None]


def _only_content(head: RequestHead) -> Headers:
    return [field for field in head.headers if field[0] in (b"content-type", b"accept")]


def _identify(exchange: Exchange) -> bytes:
    """Who is asking, for an upstream that wants to know; a client's own words on it were dropped before."""
    credential = exchange.credential
    lines = [f"x-forwarded-for: {exchange.peer}\r\nx-forwarded-proto: {exchange.scheme}\r\n"]
    if credential is not None:
        lines.append(
            f"x-consumer-id: {credential.consumer}\r\nx-consumer-tier: {credential.tier}\r\n"
            f"x-consumer-project: {credential.project}\r\n"
        )
        if credential.role:
            lines.append(f"x-consumer-role: {credential.role}\r\n")
    return "".join(lines).encode()


def no_endpoint(target: Target, wait: float) -> GatewayError:
    """What is said where no endpoint may be asked; `wait` is the seconds until one may be."""
    count, seconds = len(target.candidates), max(1, math.ceil(wait))
    which = "The endpoint" if count == 1 else f"Each of the {count} endpoints"
    return GatewayError(
        1706, f"{which} of {target.name!r} has failed too often and is left alone. Try again in {seconds} s.",
        headers={"Retry-After": str(seconds)}, details={"backend": target.name, "endpoints": count, "wait": seconds},
    )  # fmt: skip


def explain_failure(exchange: Exchange, error: UpstreamError, died: str) -> GatewayError:
    """What the client is told of an upstream's failure; sets the exchange's outcome (outcomes.md).

    `died`: how its engine ended meanwhile, empty where it did not.
    """
    if exchange.first_byte:
        exchange.outcome = Outcome.ENGINE_DIED if died else Outcome.BROKEN
    elif not error.sent:
        exchange.outcome = Outcome.NOT_REACHED
    else:
        exchange.outcome = Outcome.ENGINE_DIED if died else Outcome.UPSTREAM_FAILED
    if exchange.upstream is not None and exchange.upstream.backend == door.NAME:
        return GatewayError(1605)
    return GatewayError(1711 if died else _NUMBERS.get(error.kind, 1702))


def blame_failure(error: UpstreamError) -> Blame:
    """Whose fault it is: who falls silent or hangs up without a word may have been asked for too much."""
    if error.kind == "body_too_large":
        return Blame.CLIENT
    is_unclear = error.sent and (not error.got or error.kind == "total_timeout")
    return Blame.UNCLEAR if is_unclear else Blame.ENDPOINT

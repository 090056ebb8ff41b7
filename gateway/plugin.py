"""The plugin contract: one file, `plugins/<name>.py`, with `Settings` (a `BaseSettings`) and `Plugin` (a `BasePlugin`).

The file's name is the key in the config, and the order in the config is the order in the chain. The hooks of one
request run in four phases; the chain holds only the hooks that a plugin overrides:

| phase | signature | may be async | for |
|---|---|---|---|
| `access` | `(exchange) -> Reply or None` | yes | identity, limits, cache hits; raise `GatewayError` to refuse |
| `response` | `(exchange)` | yes | `exchange.reply`: status, headers, and the body where `buffers` |
| `chunk` | `(exchange, data) -> data` | no | each piece of a body on its way to the client |
| `log` | `(exchange)` | no | runs once, however the request ended: give back what was taken |

A `Reply` from `access` ends that phase; `response`, `chunk` and `log` of the whole chain still run. They may find
that their own `access` never ran. Third parties register under the entry-point group `tollkeeper.plugins`.
"""

from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, Generic, Literal, Protocol, TypeVar

from gateway.backend import BaseSettings, Bytes, Seconds, Secret
from gateway.edits import JsonEditor, Members, Template, Texts, check_header_names, compile_headers, header_safe
from gateway.exchange import Credential, Exchange, Reply
from gateway.ledger.lease import Account, Charge, Cost
from gateway.ledger.limit import Denial, Grant, LedgerDown, Limit, Quota, Rate, Slots, Standing
from gateway.memory import Memory
from gateway.networks import Networks
from gateway.price import compile_price, price_tokens
from gateway.settings.schema import Cap, Model, Role, Route, Tier

__all__ = [
    "Account", "BasePlugin", "BaseSettings", "Bytes", "Cache", "Cap", "Charge", "Clock", "Cost", "Credential", "Denial",
    "Directory", "Exchange", "Fetch", "Grant", "JsonEditor", "Ledger", "LedgerDown", "Limit", "Members", "Memory",
    "Meter", "Model", "Networks", "Notify", "Quota", "Rate", "Reply", "Role", "Route", "Seconds", "Secret", "Services",
    "Shared", "Slots", "Spawn", "Standing", "Template", "Texts", "Tier", "check_header_names", "compile_headers",
    "compile_price", "header_safe", "price_tokens",
]  # fmt: skip


class Ledger(Protocol):
    """Charges accounts. In a dry run it only peeks.

    A cost is milli-units of every limit of the account alike, or one figure for each limit, in their order.
    """

    def take(self, account: Account, charge: str, cost: Cost) -> Charge | Denial | Awaitable[Charge | Denial]:
        """Charge `cost` to `account`, or nothing at all; the awaitable raises LedgerDown."""
        ...

    def refund(self, charge: Charge) -> None:
        """Give a charge back; only the first refund or settlement of a charge counts."""
        ...

    def settle(self, charge: Charge, used: Cost) -> None:
        """Correct a charge to what was truly `used`, once: the rest flows back, an overrun becomes debt.

        Slots are given back whatever `used` says of them.
        """
        ...

    def peek(self, account: Account, cost: Cost) -> Awaitable[Charge | Denial]:
        """What `take` would answer now. Charges nothing; raises LedgerDown."""
        ...


class Directory(Protocol):
    """Knows consumers by the SHA-256 of their keys."""

    def look_up(self, digest: bytes) -> Credential | Awaitable[Credential | None] | None:
        """The holder of a key; the awaitable raises GatewayError 1602 when the directory cannot be asked."""
        ...


class Cache(Protocol):
    """A bounded map of this worker; the oldest use goes first. Values are bytes."""

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep `value` for at most `ttl` seconds; one larger than the whole cache is not kept."""
        ...


class Shared(Protocol):
    """What all workers, and with Redis all replicas, know together. For what may be forgotten at any time."""

    async def get(self, key: bytes) -> bytes | None:
        """The value, or None; None as well when the store cannot be asked."""
        ...

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep `value` for at most `ttl` seconds, where that can be done."""
        ...

    async def remove(self, key: bytes) -> None:
        """Forget a value, or that a key was added, where that can be done."""
        ...

    async def add(self, key: bytes, ttl: float) -> bool:
        """Whether nobody has added `key` within the last `ttl` seconds. Raises ConnectionError if that is not known."""
        ...


class Spawn(Protocol):
    """Runs a coroutine in the background; a failure is logged. For hooks that cannot wait."""

    def __call__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> object: ...


class Notify(Protocol):
    """Tells the operator's webhooks of an event; delivered by the control process, once for each `key`."""

    def __call__(self, event: str, key: str, details: Mapping[str, Any]) -> None: ...


class Fetch(Protocol):
    """Documents from elsewhere (a JWKS), fetched by the control process, never by a worker."""

    async def __call__(self, url: str, allow_private: bool = False) -> bytes:
        """The body of a GET of an https URL: at most 1 MB in 10 s, no redirects; raises OSError.

        Public addresses alone; `allow_private` adds loopback and private ones, and plain http.
        """
        ...


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds, for durations."""
        ...

    def wall(self) -> float:
        """Unix seconds, for expiry."""
        ...


class Meter(Protocol):
    """Counts for /metrics."""

    def rejected(self, rule: str, reason: str) -> None:
        """Count a refusal; both labels come from the config or the code, never from a client."""
        ...

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter of `gateway.metrics`; labels as above, in the order of its definition."""
        ...

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge; labels as above. Gauges of all workers are added up, unless it shows a `peak`."""
        ...


class Services(Protocol):
    """What the core lends to a plugin for its life."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def cache(self) -> Cache: ...
    @property
    def shared(self) -> Shared: ...
    @property
    def spawn(self) -> Spawn: ...
    @property
    def notify(self) -> Notify: ...
    @property
    def fetch(self) -> Fetch: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def metrics(self) -> Meter: ...
    @property
    def tiers(self) -> Mapping[str, Tier]: ...
    @property
    def roles(self) -> Mapping[str, Role]:
        """What each `may` holds what it inherits; its `tier` is a name."""
        ...

    @property
    def models(self) -> Mapping[str, Model]:
        """By name or pattern: `exchange.model_label`."""
        ...

    @property
    def routes(self) -> Mapping[str, Route]:
        """By path as configured: `exchange.route`."""
        ...


S = TypeVar("S", bound=BaseSettings)


class BasePlugin(Generic[S]):
    """Inherit, override the hooks you need.

    `needs`: "body" when `access` reads `exchange.body` or `exchange.fields`; the body is read when the first such
    plugin is reached. "model" when it reads `exchange.model` or `exchange.cost`: then the body is read only on routes
    that lead to models. `buffers`: `response` gets the whole body, bounded by `limits.answer`; but no stream of events
    (`reply.is_stream`) is ever held, there `response` sees the head alone. `authenticates`: the plugin sets
    `exchange.credential`; it abstains when its kind of credential is absent and refuses a bad one. `binds_body`: it may
    set `exchange.body_digest`, and the core, as soon as the caller is known, reads the body and refuses another one.
    `authorizes`: it refuses callers whose role lacks `exchange.permission`. `place`: where in a chain it belongs, of
    which `tollkeeper check` reminds; empty: anywhere, or as the two before say. The places in their order are `edge`
    (answers those who carry no credential), `shape` (refuses requests for what they are), and then `charge` (takes
    units) and `answer` (may answer in a server's place).
    """

    needs: Literal["head", "model", "body"] = "head"
    buffers: bool = False
    authenticates: bool = False
    authorizes: bool = False
    binds_body: bool = False
    place: Literal["", "edge", "shape", "charge", "answer"] = ""

    def __init__(self, settings: S) -> None:
        self.settings = settings

    async def start(self, services: Services) -> None:
        """Called once before the first request; keep `services`. May raise to refuse the configuration."""

    async def stop(self) -> None:
        """Called once after the last request."""

    def access(self, exchange: Exchange) -> Any:
        """See the module's table."""

    def response(self, exchange: Exchange) -> Any:
        """See the module's table."""

    def chunk(self, exchange: Exchange, data: bytes) -> bytes:
        """See the module's table."""
        return data

    def log(self, exchange: Exchange) -> None:
        """See the module's table."""

    async def describe(self, exchange: Exchange) -> Mapping[str, Any]:
        """What this plugin can tell the caller about himself, as plain data: sections of `GET /api/v1/me`."""
        return {}


AnyPlugin = BasePlugin[Any]

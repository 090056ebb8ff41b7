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

from collections.abc import Awaitable, Mapping
from typing import Any, Generic, Literal, Protocol, TypeVar

from gateway.backend import BaseSettings
from gateway.exchange import Credential, Exchange, Reply
from gateway.ledger.lease import Account, Charge
from gateway.ledger.limit import Denial, Grant, LedgerDown, Quota, Rate, Standing
from gateway.settings.schema import Tier

__all__ = [
    "Account", "BasePlugin", "BaseSettings", "Cache", "Charge", "Clock", "Credential", "Denial", "Directory",
    "Exchange", "Fetch", "Grant", "Ledger", "LedgerDown", "Meter", "Quota", "Rate", "Reply", "Services", "Standing",
    "Tier",
]  # fmt: skip


class Ledger(Protocol):
    """Charges accounts. In a dry run it only peeks."""

    def take(self, account: Account, charge: str, cost: int) -> Charge | Denial | Awaitable[Charge | Denial]:
        """Charge `cost` milli-units to every limit of `account`, or none; the awaitable raises LedgerDown."""
        ...

    def refund(self, charge: Charge) -> None:
        """Give a charge back; only the first refund of a charge counts."""
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


class Fetch(Protocol):
    """Documents from elsewhere (a JWKS), fetched by the control process, never by a worker."""

    async def __call__(self, url: str) -> bytes:
        """The body of a GET of an http(s) URL: at most 1 MB in 10 s, no redirects; raises OSError."""
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


class Services(Protocol):
    """What the core lends to a plugin for its life."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def cache(self) -> Cache: ...
    @property
    def fetch(self) -> Fetch: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def metrics(self) -> Meter: ...
    @property
    def tiers(self) -> Mapping[str, Tier]: ...


S = TypeVar("S", bound=BaseSettings)


class BasePlugin(Generic[S]):
    """Inherit, override the hooks you need.

    `needs`: "body" when `access` reads `exchange.body` or `exchange.fields`; the body is read when the first such
    plugin is reached. "model" when it reads `exchange.model` or `exchange.cost`: then the body is read only on routes
    that lead to models. `buffers`: `response` gets the whole body, bounded by `limits.answer`. `authenticates`: the
    plugin sets `exchange.credential`; it abstains when its kind of credential is absent and refuses a bad one.
    """

    needs: Literal["head", "model", "body"] = "head"
    buffers: bool = False
    authenticates: bool = False

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


AnyPlugin = BasePlugin[Any]

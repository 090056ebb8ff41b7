"""One request and its answer, as plugins and the core see them. Every field has one writer, named beside it."""

import enum
import re
from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from gateway.errors import GatewayError

_is_header_value = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch  # RFC 9110, 5.5, as Latin-1


class Credential(msgspec.Struct, frozen=True, array_like=True):
    """Who is calling and what he may do, as the directory or a verified token says. Never the key itself."""

    id: str
    consumer: str
    tier: str
    project: str = ""
    expires: float = 0.0  # unix seconds; 0: never
    models: tuple[str, ...] = ()  # the consumer's patterns; empty: all
    routes: tuple[str, ...] = ()
    key_models: tuple[str, ...] = ()  # the key's own, which narrow them further
    key_routes: tuple[str, ...] = ()
    is_scoped: bool = False  # any pattern, method or address is given
    role: str = ""  # a name of `roles`; empty: none
    methods: tuple[str, ...] = ()  # of HTTP; empty: all
    permissions: tuple[str, ...] = ()  # of the role's, only these; empty: all that the role may
    kind: str = "key"  # how it was proved: key, jwt or hmac
    override_tier: str = ""  # the tier instead of `tier` ...
    override_until: float = 0.0  # ... until then, in unix seconds; 0: for ever
    addresses: tuple[str, ...] = ()  # networks the consumer may call from; empty: any

    def __post_init__(self) -> None:
        scopes = (self.models, self.routes, self.key_models, self.key_routes, self.methods, self.addresses)
        msgspec.structs.force_setattr(self, "is_scoped", any(scopes))

    def tier_at(self, now: float) -> str:
        """The tier that holds at `now`, in unix seconds: the override while there is one."""
        if self.override_tier and (not self.override_until or now < self.override_until):
            return self.override_tier
        return self.tier


class Reply:
    """An answer: made by a plugin, or an upstream's on its way to the client.

    `headers` are pairs of lower-case names and values. `body` is the whole body, or an iterator of pieces. A plugin's
    `response` hook may change status and headers; the body is bytes there only if the plugin says `buffers = True`.
    """

    __slots__ = ("body", "headers", "keeps_units", "status")

    def __init__(
        self, status: int, headers: list[tuple[bytes, bytes]] | None = None, body: bytes | AsyncIterator[bytes] = b"",
        keeps_units: bool = True,
    ) -> None:  # fmt: skip
        self.status = status
        self.headers = [] if headers is None else headers
        self.body = body
        self.keeps_units = keeps_units  # of a plugin's: whether what was charged before stays charged

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events: never held, its body is not seen by `response`."""
        return (self.get(b"content-type") or b"").lower().startswith(b"text/event-stream")


class Outcome(enum.Enum):
    """How a request ended; the rows of the table in the relay's README. The value stands in traces.

    `keeps_units`: whether the units reserved for the request stay charged.
    """

    COMPLETE = "complete", True
    REFUSED = "refused", False  # by a plugin before anything was charged, or by a limit
    TURNED_AWAY = "turned_away", False  # after the quota: no such model, queue full, engine not ready
    ANSWERED = "answered", True  # by a plugin, without an upstream
    ANSWERED_FREE = "answered_free", False  # the same, and the plugin takes nothing for it
    LEFT_WAITING = "left_waiting", False  # the client left while queued or while a model loads
    NOT_REACHED = "not_reached", False
    UPSTREAM_REJECTED = "upstream_rejected", True  # its 4xx
    UPSTREAM_FAILED = "upstream_failed", True  # its 5xx, or no first byte
    ENGINE_DIED = "engine_died", True
    BROKEN = "broken", True  # after the first byte
    LEFT = "left", True  # the client, after the upstream was asked
    WORKER_LOST = "worker_lost", True
    FAILED = "failed", False  # a bug of ours

    label: str  # the value, without the detour of enum's property: it is read for every request
    keeps_units: bool

    def __new__(cls, label: str, keeps_units: bool) -> "Outcome":
        outcome = object.__new__(cls)
        outcome._value_ = outcome.label = label
        outcome.keeps_units = keeps_units
        return outcome


class Head(Protocol):
    """A request's head as the server read it; names are lower-case bytes."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    def get(self, name: bytes) -> bytes | None: ...
    def get_all(self, name: bytes) -> list[bytes]: ...


Reserved = tuple[str, str, int]
"""A month's counter: its quota key, what it counts (units, tokens, money as micro-USD), milli-units reserved of it."""


class Exchange:
    """The state of one request. Made by the worker when the head is complete, gone when `log` has run."""

    __slots__ = (
        "answered", "body", "body_digest", "body_limit", "cache", "charges", "client_wants_usage", "closed", "connect",
        "content", "cost", "credential", "detour", "dialect", "entry", "error", "fields", "finish", "first_byte",
        "forwarded", "forwarded_query", "generation", "head", "id", "lines", "loading", "method", "model",
        "model_asked", "model_label", "money", "month", "notes", "outcome", "path", "peer", "permission", "projects",
        "query", "queued", "received", "record", "replaced", "reply", "request", "request_id", "route", "rule",
        "scheme", "sent", "status", "stream", "tier", "tokens", "trace", "units", "upload", "upstream",
    )  # fmt: skip

    def __init__(self, id: str, head: Head, method: str, path: str, received: float) -> None:
        # the request, as it came (worker)
        self.id = id  # 128 bits, ours: the key in ledger, journal and store
        self.request_id = id  # what the client calls it, where it may; only echoed and stored
        self.request: Any = None  # the server's side of it; for the core alone
        self.head = head
        self.method = method
        self.path = path  # normalised: matched, limited, logged and forwarded
        self.query = ""
        self.peer = ""  # address
        self.scheme = "http"
        self.received = received  # monotonic seconds
        self.generation = 0
        self.trace: Any = None  # where it stands in a trace; None: nobody asks; for the core alone
        self.route = ""  # the template that matched (router)
        self.permission = ""  # what the route asks of a role; empty: nothing (router)
        self.projects: tuple[str, ...] = ()  # whose callers alone the route is for; empty: everybody's (router)
        self.dialect: Any = None  # of the API, for the core alone; None: its bytes are nobody's business (router)
        # the body, once it is read (core, before the first plugin that needs it)
        self.body: bytes | None = None
        self.fields: dict[str, msgspec.Raw] | None = None  # a JSON object, decoded one level deep
        self.upload: Any = None  # a form that goes on while it arrives; for the core alone
        self.model_asked = ""
        self.model = ""  # in the registry
        self.model_label = ""  # the name or pattern of the configuration that it falls under
        self.entry: Any = None  # the registry's entry; for the core alone
        self.detour: Any = None  # the models it may fall back to, where it may; for the core alone
        self.stream = False
        self.client_wants_usage = False
        self.cost = 0  # milli-units: route cost x model cost
        # who (authentication plugins)
        self.credential: Credential | None = None
        self.tier = ""  # quota: the tier that was applied
        # what was charged (quota)
        self.units = 0  # milli-units reserved
        self.month: tuple[str, str] = ("", "")  # quota key and period
        self.charges: tuple[Reserved, ...] = ()  # the other counters of that period
        self.rule = ""  # the rule that refused
        self.money: int | None = None  # nano-USD that the request cost; None: no price is known
        self.cache = ""  # what a cache did: hit, miss, bypass or coalesced
        self.body_limit = 0  # bytes, where a plugin wants less than the route; heeded until the body is read
        self.body_digest: bytes | None = None  # SHA-256 that the body must have; for authentication plugins
        self.forwarded_query: str | None = None  # the query for the upstream; None: the client's own, `query`
        # headers of the request to the upstream, in lower case: replaced, added, or dropped where the value is None
        self.replaced: dict[bytes, bytes | None] = {}
        # the answer (core; `lines` by anybody)
        self.lines: list[str] = []  # complete header lines for the client, each ending in CRLF
        self.reply: Reply | None = None
        self.error: GatewayError | None = None
        self.status = 0
        self.outcome: Outcome | None = None
        self.tokens = Tokens()
        self.finish = ""  # why the model stopped, in the words of OpenAI's `finish_reason`
        self.content: Any = None  # keeps what is asked and answered, where the route says so; for the core alone
        self.sent = 0  # body bytes handed to the client
        self.record: Any = None  # the open record, which the closing one repeats
        self.closed = False  # the closing record is written
        # seconds spent (core)
        self.queued = 0.0  # or waited, in a cache, for another request's answer
        self.loading = 0.0
        self.connect = 0.0
        # monotonic moments (core); 0: not yet
        self.forwarded = 0.0  # the request left for an upstream
        self.first_byte = 0.0  # the first body byte left for the client
        self.answered = 0.0  # the upstream's answer was complete
        self.upstream: Upstream | None = None
        # a plugin's private memory of this request, under the plugin itself
        self.notes: dict[object, Any] = {}

    def header(self, name: str) -> str | None:
        """The first value of a request header (`name` in lower case), or None."""
        value = self.head.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def set_header(self, name: str, value: str) -> None:
        """Add a header to whatever answer the client gets, a refusal included. Raises ValueError for a bad value."""
        if not _is_header_value(value):
            raise ValueError(f"the header {name} cannot hold {value!r}")
        self.lines.append(f"{name}: {value}\r\n")

    def used(self, unit: str, reserved: int) -> int:
        """Milli-units that the request, now that it is over, used of a limit that counts `unit` (see `Reserved`)."""
        if self.outcome is not None and not self.outcome.keeps_units:
            return 0
        if unit == "tokens":
            return 1000 * (self.tokens.prompt + self.tokens.completion)
        return self.money or 0 if unit == "money" else reserved

    def set_field(self, name: str, value: Any) -> None:
        """Replace a field of the JSON body; the body is encoded again before it is forwarded."""
        assert self.fields is not None, "the plugin must say needs = 'body'"
        self.fields[name] = msgspec.Raw(msgspec.json.encode(value))
        self.body = None


class Tokens:
    """Tokens of one request. `source`: none, counted (by the engine) or estimated (by us)."""

    __slots__ = ("cached", "completion", "prompt", "source")

    def __init__(self) -> None:
        self.prompt = 0
        self.completion = 0
        self.cached = 0
        self.source = "none"


class Upstream:
    """Where a request went (core)."""

    __slots__ = ("attempts", "backend", "death", "endpoint", "load", "provider", "status")

    def __init__(self, backend: str, provider: str = "") -> None:
        self.backend = backend
        self.provider = provider  # the kind of engine
        self.endpoint = ""
        self.load = ""  # which run of a supervised engine
        self.death = ""  # how that run ended under the request: exit 1, signal 9
        self.status = 0
        self.attempts = 0

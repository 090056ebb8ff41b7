"""The shape of the configuration file: frozen Structs that refuse unknown keys. The Struct is the schema.

Callers, backends, models and routes stand here, what the gateway itself is like in `site`.

Durations are seconds, sizes bytes (`units`). What plugins and engines want for themselves is plain data here.
"""

import os
from typing import Annotated, Any, Literal, get_args

import msgspec

from gateway.priority import NORMAL, Priority
from gateway.settings.section import Amount, Count
from gateway.settings.section import Section as Section
from gateway.settings.site import Admin as Admin
from gateway.settings.site import Certificate as Certificate
from gateway.settings.site import Headers as Headers
from gateway.settings.site import Limits as Limits
from gateway.settings.site import Listen as Listen
from gateway.settings.site import Listener as Listener
from gateway.settings.site import Log as Log
from gateway.settings.site import Otel as Otel
from gateway.settings.site import State as State
from gateway.settings.site import Timeouts as Timeouts
from gateway.settings.site import Trace as Trace
from gateway.settings.site import Webhook as Webhook
from gateway.settings.units import Budget, Bytes, Pause, Rate, Seconds, Secret


class Cap(Section, frozen=True):
    """One limit more: exactly one of the first six. In `shadow` it is counted and never refuses."""

    rate: Rate | None = None  # units
    tokens: Rate | None = None
    monthly: Count | None = None  # units
    monthly_tokens: Count | None = None
    concurrency: Count | None = None  # requests at once
    budget: Budget | None = None
    burst: Count | None = None  # of `rate` or `tokens`; default 1.5 x its count
    by: str = ""  # who shares it, as in a tier; default: consumer in a tier, model in a model, route in a route
    shadow: bool = False
    name: str = ""  # what refusals, metrics and counters call it


class Tier(Section, frozen=True):
    """What somebody may spend. Units are route cost x model cost, tokens those of prompt and answer."""

    rate: Rate = Rate(0, 1)
    burst: Count | None = None  # units; default 1.5 x the rate's count
    monthly: Count | None = None  # units per month
    by: str = "consumer"  # consumer, credential, project, ip, header:<name>, session, model, route; `+` joins several
    tokens: Rate | None = None
    monthly_tokens: Count | None = None
    concurrency: Count | None = None  # requests at once
    budget: Budget | None = None
    shadow: bool = False  # all its limits count and never refuse
    zone: str = "UTC"  # where its months begin
    anchor: Annotated[int, msgspec.Meta(ge=1, le=31)] = 1  # the day on which they begin
    reserve: Annotated[int, msgspec.Meta(ge=0)] = 1000  # tokens of an answer whose length nobody bounds
    on_ledger_loss: Literal["local", "closed", "open"] = "local"
    limits: tuple[Cap, ...] = ()
    priority: Priority = NORMAL  # the class in which its requests wait; they may ask for a lower one
    may_load: bool = True  # models that are not loaded; else only those that are can be used
    may_evict: bool = False  # other models, where they must make room


class Override(Section, frozen=True):
    """Another tier for a while, or the consumer's own one with what is named here in place of what it says."""

    tier: str = ""
    until: str = ""  # ISO date or date-time, UTC; empty: for ever
    rate: Rate | None = None
    burst: Count | None = None
    monthly: Count | None = None
    tokens: Rate | None = None
    monthly_tokens: Count | None = None
    concurrency: Count | None = None
    budget: Budget | None = None


class Role(Section, frozen=True):
    """What somebody may do. Its tier, one of `tiers` or one of its own, is for those who name none."""

    tier: str | Tier = ""
    may: tuple[str, ...] = ()  # permissions such as infer, traces:read, traces:* or *
    inherits: tuple[str, ...] = ()  # roles whose permissions it has as well


class Key(Section, frozen=True):
    """One credential of a consumer: the SHA-256 of the key in hex, or the key itself from ${VAR} or ${file:…}."""

    sha256: str = ""
    key: Secret = ""
    id: str = ""  # shown in lists and traces; default: the first 12 hex digits of the hash
    expires: str = ""  # ISO date or date-time, UTC
    models: tuple[str, ...] = ()  # patterns; empty: what the consumer may
    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()  # of HTTP


class Consumer(Section, frozen=True):
    """Somebody who holds keys. Without a `tier` it has its role's."""

    tier: str = ""
    role: str = ""
    project: str = ""
    keys: tuple[Key, ...] = ()
    models: tuple[str, ...] = ()  # patterns such as "qwen*"; empty: all
    routes: tuple[str, ...] = ()  # path patterns; empty: all
    override: Override | None = None
    methods: tuple[str, ...] = ()  # of HTTP; empty: all
    addresses: tuple[str, ...] = ()  # networks it may call from; empty: any


class Backend(Section, frozen=True):
    """A model server: exactly one engine (`engine` holds its name and raw settings) and what is common to all."""

    engine: tuple[str, dict[str, Any]]
    slots: int | None = None  # requests at once; default: what the engine says
    queue: int = 100  # how many may wait for a slot
    abandoned: Literal["wait", "restart"] = "wait"  # an engine that goes on for a client who left, for longer than ...
    abandon_grace: Seconds = Seconds(20)  # ... this: its slot is given on, or it is started again
    identity: bool = False  # send X-Consumer-* to it
    headers: bool = True  # pass the client's other headers on
    load: Literal["start", "demand"] | None = None  # an engine's; default: start, but demand where memory is shared
    idle: Seconds | None = None  # without requests, after which it is unloaded; default: never
    residency: Seconds = Seconds(30)  # it stays at least, before it makes room for another
    memory: Bytes | None = None  # that it takes of the file's `memory`; default: what the backend estimates
    group: str = ""  # engines of which one at a time is loaded
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0  # of its processes; 19 takes what nobody else wants
    cpus: tuple[int, ...] = ()  # numbers of the processors that it may use (Linux); empty: all
    gpus: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] | None = None  # numbers of those that it may see; default: all
    memory_limit: Bytes | None = None  # of its own, beyond which it is ended; default: none
    secrets: dict[str, Secret] = {}  # variables of its environment; struck from what it prints
    sha256: str = ""  # of its model, looked at before each start; empty: whatever it is


class Price(Section, frozen=True):
    """USD per million tokens."""

    input: Amount
    output: Amount
    cached: Amount | None = None  # tokens of the prompt that the engine had already; default: as `input`


Condition = Literal["error", "timeout", "context", "not_loaded", "queue"]


class Fallback(Section, frozen=True):
    """Models that are asked, one after the other, where this one cannot answer; only before the first byte."""

    to: tuple[str, ...]
    on: tuple[Condition, ...] = get_args(Condition)


class Model(Section, frozen=True):
    """What clients ask for by `model`. A name may be a pattern (`llama-*`)."""

    backend: str = ""
    alias: str = ""  # another model of this table
    name: str = ""  # what the backend calls it; default: what the client asked for
    cost: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    projects: tuple[str, ...] = ()  # whose callers alone may use it and see it; empty: everybody's
    price: Price | None = None
    fallback: Fallback | None = None
    max_tokens: Count | None = None  # of an answer, for callers whose tokens or money are limited
    limits: tuple[Cap, ...] = ()
    preload: bool = False  # its engine is loaded at the start
    pin: bool = False  # its engine, once loaded, is never unloaded for another or for being idle


class Content(Section, frozen=True):
    """How much of prompts and answers is kept with their traces, redacted."""

    input: Bytes = Bytes(4000)
    output: Bytes = Bytes(16_000)
    redact: tuple[str, ...] = ()  # beside what `trace.redact` names


class Route(Section, frozen=True):
    """A path and where it leads. `path` is exact, or a prefix when it ends in `/*`."""

    path: str
    to: str = "models"  # where the body's `model` leads, or a backend's name
    methods: tuple[str, ...] = ()  # empty: POST for models, else every method but TRACE and CONNECT
    cost: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    costs: dict[str, Amount] = {}  # by method, in place of `cost`
    limits: tuple[Cap, ...] = ()
    auth: Literal["required", "optional", "none"] = "required"
    permission: str = "infer"  # what a role must hold; empty: nothing
    projects: tuple[str, ...] = ()  # whose callers alone may use it; empty: everybody's
    plugins: tuple[dict[str, Any], ...] | None = None  # default: the chain of the whole file
    strip: str = ""  # a prefix taken off before the path goes to the backend
    dialect: Literal[
        "auto", "chat", "completions", "responses", "messages", "embeddings", "rerank", "audio", "images", "plain"
    ] = "auto"  # of the API; auto: by the end of the path for models, plain (bytes as they come) for a backend
    body: Bytes | None = None
    content: Content | None = None  # default: nothing of prompts and answers is kept
    retry: bool = False  # a request that may have been processed may be sent again (only before the first byte)
    first_byte: Seconds | None = None
    idle: Seconds | None = None
    total: Seconds | None = None
    early_comments: Pause = Pause(0)  # in streams that wait for their model, so far apart; true: 5 s, false: none


class Config(Section, frozen=True):
    listen: Listen = Listen()
    admin: Admin = Admin()
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] | Literal["auto"] = "auto"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    state: State = State()
    log: Log = Log()
    headers: Headers = Headers()
    trace: Trace = Trace()
    otel: Otel | None = None
    demo: bool = False  # make a consumer and a key per tier; loopback only
    tiers: dict[str, Tier] = {}
    roles: dict[str, Role] = {}
    consumers: dict[str, Consumer] = {}
    backends: dict[str, Backend] = {}
    memory: Bytes = Bytes(0)  # for all engines together; 0: no bound
    model_roots: tuple[str, ...] = ()  # folders with models; empty: they may lie anywhere
    models: dict[str, Model] = {}
    plugins: tuple[dict[str, Any], ...] = ()
    routes: tuple[Route, ...] = ()
    webhooks: tuple[Webhook, ...] = ()

    def count_workers(self) -> int:
        """How many are started here: `auto` is one for each processor."""
        return os.cpu_count() or 1 if self.workers == "auto" else self.workers

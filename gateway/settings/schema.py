"""The shape of the configuration file: frozen Structs that refuse unknown keys. The Struct is the schema.

Durations are seconds, sizes are bytes (`units`). What a plugin or an engine wants for itself stays plain data here
(`plugins`, `Backend.engine`): its own `Settings` is applied by the loader.
"""

from typing import Annotated, Any, Literal

import msgspec

from gateway.settings.units import Bytes, Rate, Seconds


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the configuration: immutable, unknown keys refused."""


class Certificate(Section, frozen=True):
    """A PEM certificate chain and its key; `names` are the server names it answers for (default: the first)."""

    cert: str
    key: str
    names: tuple[str, ...] = ()


class Listener(Section, frozen=True):
    """One address: `host:port`, `[v6]:port` or `unix:/path`; with certificates it speaks TLS."""

    address: str
    certificates: tuple[Certificate, ...] = ()


class Listen(Section, frozen=True):
    proxy: tuple[Listener, ...] = (Listener(address="127.0.0.1:8000"),)
    status: str = "127.0.0.1:8100"


class Limits(Section, frozen=True):
    body: Bytes = Bytes(10_000_000)
    answer: Bytes = Bytes(100_000_000)  # of an upstream answer that must be held whole
    header: Bytes = Bytes(32_768)
    headers: int = 100
    connections: int = 10_000  # per worker
    connections_per_client: int = 0  # per worker and address; 0: no limit
    body_rate: Bytes = Bytes(500)  # a second, at least, of a body that somebody waits for; 0: no limit
    json_depth: int = 64
    pipeline: int = 16


class Timeouts(Section, frozen=True):
    """Each is separate and has its own error (18xx)."""

    connect: Seconds = Seconds(5)
    queue: Seconds = Seconds(30)  # waiting for a slot
    load: Seconds = Seconds(600)  # waiting for an engine to become ready
    first_byte: Seconds = Seconds(120)
    idle: Seconds = Seconds(60)  # between two pieces of an answer
    total: Seconds = Seconds(1800)
    header: Seconds = Seconds(10)  # a client's head
    body: Seconds = Seconds(30)  # between two pieces of a client's body
    write: Seconds = Seconds(30)  # a client that does not read
    keep_alive: Seconds = Seconds(75)
    shutdown_drain: Seconds = Seconds(30)
    reload_linger: Seconds | None = None  # default: total


class State(Section, frozen=True):
    directory: str = "./var"  # journal, store, ledger


class Tier(Section, frozen=True):
    """What somebody may spend. Units are route cost x model cost."""

    rate: Rate = Rate(0, 1)
    burst: Annotated[int, msgspec.Meta(ge=1)] | None = None  # units; default 1.5 x the rate's count
    monthly: Annotated[int, msgspec.Meta(ge=1)] | None = None  # units per calendar month
    by: str = "consumer"  # consumer, ip, or header:<name>


class Key(Section, frozen=True):
    """One credential of a consumer: the SHA-256 of the key in hex, or the key itself from ${VAR} or ${file:…}."""

    sha256: str = ""
    key: str = ""
    id: str = ""  # shown in lists and traces; default: the first 12 hex digits of the hash
    expires: str = ""  # ISO date or date-time, UTC
    models: tuple[str, ...] = ()  # patterns; empty: what the consumer may
    routes: tuple[str, ...] = ()


class Consumer(Section, frozen=True):
    tier: str
    project: str = ""
    keys: tuple[Key, ...] = ()
    models: tuple[str, ...] = ()  # patterns such as "qwen*"; empty: all
    routes: tuple[str, ...] = ()  # path patterns; empty: all


class Backend(Section, frozen=True):
    """A model server: exactly one engine (`engine` holds its name and raw settings) and what is common to all."""

    engine: tuple[str, dict[str, Any]]
    slots: int | None = None  # requests at once; default: what the engine says
    queue: int = 100  # how many may wait for a slot
    identity: bool = False  # send X-Consumer-* to it
    headers: bool = True  # pass the client's other headers on


class Model(Section, frozen=True):
    """What clients ask for by `model`. A name may be a pattern (`llama-*`)."""

    backend: str = ""
    alias: str = ""  # another model of this table
    name: str = ""  # what the backend calls it; default: what the client asked for
    cost: Annotated[float, msgspec.Meta(ge=0)] = 1.0


class Route(Section, frozen=True):
    """A path and where it leads. `path` is exact, or a prefix when it ends in `/*`."""

    path: str
    to: str = "models"  # where the body's `model` leads, or a backend's name
    methods: tuple[str, ...] = ()  # empty: POST for models, else every method but TRACE and CONNECT
    cost: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    auth: Literal["required", "optional", "none"] = "required"
    plugins: tuple[dict[str, Any], ...] | None = None  # default: the chain of the whole file
    strip: str = ""  # a prefix taken off before the path goes to the backend
    body: Bytes | None = None
    retry: bool = False  # a request that may have been processed may be sent again (only before the first byte)
    first_byte: Seconds | None = None
    idle: Seconds | None = None
    total: Seconds | None = None


class Log(Section, frozen=True):
    """What is logged beside the events on stderr."""

    requests: bool = False  # one line a request on stdout


class Headers(Section, frozen=True):
    """Which optional answer headers are sent."""

    timing: bool = True
    routing: bool = True


class Config(Section, frozen=True):
    listen: Listen = Listen()
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] | Literal["auto"] = "auto"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    state: State = State()
    log: Log = Log()
    headers: Headers = Headers()
    demo: bool = False  # make a consumer and a key per tier; loopback only
    tiers: dict[str, Tier] = {}
    consumers: dict[str, Consumer] = {}
    backends: dict[str, Backend] = {}
    models: dict[str, Model] = {}
    plugins: tuple[dict[str, Any], ...] = ()
    routes: tuple[Route, ...] = ()

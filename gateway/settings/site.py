"""The gateway as a site: where it listens, how much it takes, how long it waits, where it keeps and tells things."""

from gateway.settings.section import Count, Section
from gateway.settings.units import Bytes, Rate, Seconds, Secret


class Certificate(Section, frozen=True):
    """A PEM certificate chain and its key; `names` are the server names it answers for (default: the first)."""

    cert: str
    key: str
    names: tuple[str, ...] = ()


class Listener(Section, frozen=True):
    """One address: `host:port`, `[v6]:port` or `unix:/path`; with certificates it speaks TLS."""

    address: str
    certificates: tuple[Certificate, ...] = ()
    proxy_protocol: bool = False  # every connection begins with a PROXY header (v1 or v2) that names the client


class Listen(Section, frozen=True):
    proxy: tuple[Listener, ...] = (Listener(address="127.0.0.1:8000"),)
    status: str = "127.0.0.1:8100"
    admin: str = "127.0.0.1:8001"  # the admin API, for operators; empty: none
    trusted: tuple[str, ...] = ()  # networks of proxies whose X-Forwarded-For counts; `unix` for unix sockets


class Admin(Section, frozen=True):
    """Who may use the admin address: whoever has this key; without one it is made, `admin.key` beside the state."""

    key: Secret = ""
    sha256: str = ""  # of the key, in hex, in place of it
    hosts: tuple[str, ...] = ()  # names by which the address is called, beside IP addresses and localhost


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
    lag: Seconds = Seconds(0.25)  # of a worker's event loop, from which low classes are refused; 0: never
    failed_logins: Rate = Rate(30, 60)  # of one address (IPv6: /64), before it is refused for a while


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
    redis: str = ""  # a URL: rates and months are kept there, for all replicas; empty: by this one for itself
    replicas: Count = 1  # how many gateways serve this file
    database: str = "sqlite"  # of keys, consumers and traces; or postgresql://…, for all replicas
    retention: Seconds = Seconds(90 * 86_400)  # of traces; 0: for ever
    retention_contents: Seconds = Seconds(30 * 86_400)  # of what was asked and answered; 0: as long as its trace
    retention_audit: Seconds = Seconds(365 * 86_400)  # of the audit log; 0: for ever
    size: Bytes = Bytes(10_000_000_000)  # of SQLite's file, beyond which the oldest traces go; 0: no bound
    journal: Bytes = Bytes(2_000_000_000)  # of records that wait for the store; beyond it new ones are lost; 0: none


class Log(Section, frozen=True):
    """What is logged beside the events on stderr."""

    requests: bool = False  # one line a request on stdout


class Trace(Section, frozen=True):
    """What traces tell beside their requests."""

    environment: str = ""  # such as production; shown in every trace
    redact: tuple[str, ...] = ("keys", "emails", "cards")  # taken out of every content: presets, regular expressions


class Otel(Section, frozen=True):
    """A collector that is told of every request, over OTLP/HTTP, by control. Contents are never told."""

    endpoint: str  # such as http://localhost:4318; /v1/traces and /v1/metrics lie below it
    headers: dict[str, Secret] = {}  # such as an API key
    traces: bool = True
    metrics: bool = True


class Webhook(Section, frozen=True):
    """Where the operator hears of events. Requests are signed with `secret`."""

    url: str
    secret: Secret
    events: tuple[str, ...] = ("quota.threshold",)
    private: bool = False  # it may be at a private or loopback address


class Headers(Section, frozen=True):
    """Which optional headers are sent: two groups of them in answers, one to upstreams."""

    timing: bool = True
    routing: bool = True
    trace: bool = True  # W3C traceparent: taken from callers, begun where there is none, told to upstreams

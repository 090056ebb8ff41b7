"""What travels on the link. Fields are only ever appended."""

from typing import Any

from gateway.exchange import Credential
from gateway.ledger.limit import Ask, Denial, Grant, Refund, Renew, Return
from gateway.link.message import Message
from gateway.priority import NORMAL, Priority


class Hello(Message, frozen=True):
    """A child's first words. `version` is the code's; the supervisor refuses one that is not its own."""

    role: str  # worker, control, command
    name: str
    version: str
    pid: int


class Configure(Message, frozen=True):
    """The generation a child lives by. `config` is the expanded file as plain data in msgpack."""

    generation: int
    config: bytes
    boot: str
    directory: str  # the state directory, absolute
    token: str = ""  # of this boot: what control asks of whoever comes by its client door


class Ready(Message, frozen=True):
    """The child does its work from now on."""


class Listen(Message, frozen=True):
    """Accept connections from now on: told to a worker that is `Ready`."""


class Failed(Message, frozen=True):
    """The call was not done; `reason` is a sentence for a person, `number` one of the catalogue or 0."""

    reason: str
    number: int = 0
    retry_after: float = 0.0  # seconds
    details: dict[str, Any] = {}  # facts for the client


class Done(Message, frozen=True):
    """The call was done; `data` is what it returns, as plain data."""

    data: Any = None


class Drain(Message, frozen=True):
    """Stop accepting, finish what runs for at most `linger` seconds, exit. WebSockets live until then."""

    linger: float


class Acquire(Message, frozen=True):
    """Ask for a slot of a backend; answered by `Slot` or `Failed`. `request` is the internal id of the request."""

    backend: str
    request: str
    wait: float  # seconds the request may still wait for a slot
    load: float  # seconds it may wait for the engine to become ready
    priority: Priority = NORMAL
    consumer: str = ""  # whose turn it is, within the class
    tokens: int = 1  # that the request will take at the most, as far as can be told
    may_load: bool = True  # whether the engine may be loaded for it
    may_evict: bool = False  # and others be unloaded for that


class Slot(Message, frozen=True):
    """A slot and where it is. `load` is the engine's process run, `key` what it asks for; the others are seconds."""

    url: str
    load: str = ""
    queued: float = 0.0
    loading: float = 0.0
    key: str = ""


class Release(Message, frozen=True):
    """Give a slot back, or leave the queue."""

    backend: str
    request: str
    progress: bool = False  # whether the engine answered anything
    tokens: int = -1  # what the request took; -1: what was told at first stands
    lingers: bool = False  # the engine goes on for nobody


class Gone(Message, frozen=True):
    """Ask how the process run `load` of a backend has ended; answered by `Done(str)`, empty while it lives."""

    backend: str
    load: str


class Observation(Message, frozen=True):
    """What a worker saw of an endpoint: `ok`, or a failure that is `blame`d on it ('endpoint' or 'unclear').

    `good` answers came before it, since the worker's last observation. `trial`: the request was one of the breaker's.
    `asked`: it had the request and gave nothing of use. `body`: the digest of what the run `load` of an engine died of.
    """

    backend: str
    endpoint: str
    ok: bool
    blame: str = ""
    consumer: str = ""
    good: int = 0
    trial: bool = False
    asked: bool = True
    body: bytes = b""
    load: str = ""


class EndpointStates(Message, frozen=True):
    """Endpoints that must not be used now, by backend; pushed whole on every change.

    `trials`: those of them that a request may try out, if it is given a `Trial`. `waits`: where no endpoint is left,
    the seconds until one can be asked. `poison`: digests of bodies that engines died of, refused for so many seconds.
    """

    down: dict[str, tuple[str, ...]]
    trials: dict[str, tuple[str, ...]] = {}
    waits: dict[str, float] = {}
    poison: dict[bytes, float] = {}


class Trial(Message, frozen=True):
    """Ask whether this request may try out an endpoint that has been left alone; answered by `Done(bool)`."""

    backend: str
    endpoint: str


class Peek(Message, frozen=True):
    """Ask the ledger what it would answer to `ask`, and change nothing; answered as an `Ask` is."""

    ask: Ask


class LookUp(Message, frozen=True):
    """Ask the directory for a key by its SHA-256; answered by `Found`."""

    digest: bytes


class Found(Message, frozen=True):
    credential: Credential | None


class Changed(Message, frozen=True):
    """Keys whose directory entry changed; caches drop them. Empty: drop everything."""

    digests: tuple[bytes, ...] = ()


class WriterGone(Message, frozen=True):
    """A worker instance is dead: control finishes its journal, closes its open records, then settles."""

    writer: str


class Settled(Message, frozen=True):
    """What a dead writer's journal says it spent: (quota key, period, milli-units)."""

    writer: str
    totals: tuple[tuple[str, str, int], ...]


class StoreState(Message, frozen=True):
    """How the trace store does, pushed by control every second."""

    up: bool
    lag: float  # seconds since everything in the journals was stored
    lost: int  # records in the journals that cannot be read
    size: int = 0  # bytes that the store takes of the disk
    aged: int = 0  # traces removed because they were too old ...
    evicted: int = 0  # ... or the store too large


class AuthorityState(Message, frozen=True):
    """A worker can ask the shared ledger, or cannot any more; answered by a Refund, to be told to it once it is up."""

    up: bool


class Fleet(Message, frozen=True):
    """How many replicas are alive; pushed by control where they share a ledger."""

    replicas: int


class Recount(Message, frozen=True):
    """The shared ledger may have lost its memory: workers tell it anew what they were charged of each month."""


class Once(Message, frozen=True):
    """Ask whether nobody has said `key` within the last `ttl` seconds; answered by `Done(bool)`."""

    key: bytes
    ttl: float


class Keep(Message, frozen=True):
    """Have the supervisor remember `value` for `ttl` seconds, for all workers, where there is room."""

    key: bytes
    value: bytes
    ttl: float


class Recall(Message, frozen=True):
    """Ask for a value that some worker had kept; answered by `Done(bytes or None)`."""

    key: bytes


class Forget(Message, frozen=True):
    """Drop what was kept under `key`, and that it was ever said."""

    key: bytes


class Notice(Message, frozen=True):
    """Something that the operator's webhooks hear of, once for each `key`. Told to the supervisor, for control."""

    event: str
    key: str
    details: dict[str, Any] = {}


class Command(Message, frozen=True):
    """An operator's wish, such as status, reload, drain, or one of the directory's; answered by Done or Failed."""

    name: str
    arguments: dict[str, Any] = {}


AnyMessage = (
    Hello | Configure | Ready | Listen | Failed | Done | Drain | Acquire | Slot | Release | Gone | Observation | Trial
    | EndpointStates | Peek | LookUp | Found | Changed | WriterGone | Settled | StoreState | Command | Fleet | Recount
    | AuthorityState | Once | Keep | Recall | Forget | Notice | Ask | Grant | Denial | Refund | Renew | Return
)  # fmt: skip

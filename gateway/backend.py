"""The backend contract: a backend *describes* a model server, it owns neither process nor socket.

One module, `backends/<engine>`, exports `Settings` (a `BaseSettings`) and `Backend` (a `BaseBackend`). The module's
name is the key in the config:

    backends:
      qwen:
        llama_cpp: {model: ./models/qwen.gguf}

The supervisor starts, probes and stops what `launch` describes; the worker connects to `endpoints`, or to the port
that the supervisor chose. Third parties register the module under the entry-point group `tollkeeper.backends`. What a
backend wants to know of a file with a model it reads with `gateway.model_file`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from gateway.settings.units import Bytes, Seconds, Secret

__all__ = [
    "AnyBackend", "Balance", "BaseBackend", "BaseSettings", "Blame", "Bytes", "Endpoint", "Health", "Launch", "Load",
    "Seconds", "Secret", "Tls", "find_url_problems",
]  # fmt: skip


class BaseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a plugin or backend: immutable, unknown keys refused. Repeat `frozen=True` in subclasses."""


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One address of a server that somebody else runs. `url` is http://, https:// or unix:/path."""

    url: str
    weight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


def find_url_problems(url: str) -> Iterator[str]:
    """What is wrong with an endpoint's address: nothing but these schemes is ever connected to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        yield f"{url!r} is not a URL: {error}"
        return
    if parts.scheme not in ("http", "https", "unix"):
        yield f"{url!r} must begin with http://, https:// or unix:/"
    elif parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            yield f"{url!r} must hold the absolute path of a socket: unix:/run/server.sock"
    elif not parts.hostname or port == 0:
        yield f"{url!r} must name a host, and a port other than 0 where it names one"
    if "@" in parts.netloc:
        yield "a url must hold no credential: use `key`"
    if parts.query or parts.fragment:
        yield f"{url!r} must have no query and no fragment"


class Health(BaseSettings, frozen=True):
    """The active check of every endpoint: GET `path`, up when 2xx comes within `timeout`.

    An endpoint goes down after `unhealthy` bad answers in a row and comes back after `healthy` good ones.
    """

    path: str = "/health"
    interval: Seconds = Seconds(5)
    timeout: Seconds = Seconds(2)
    healthy: Annotated[int, msgspec.Meta(ge=1)] = 2
    unhealthy: Annotated[int, msgspec.Meta(ge=1)] = 3


class Hash(BaseSettings, frozen=True):
    """Requests that are alike go to one endpoint, while it has not much more to do than the others.

    Alike is the beginning of the prompt, the header X-Session-ID or another one, or who asks. A request that has no
    such thing goes to the endpoint with the fewest in flight.
    """

    hash: str  # prefix, session, consumer or header:<name>

    def __post_init__(self) -> None:
        if not re.fullmatch(r"prefix|session|consumer|header:[A-Za-z0-9-]+", self.hash):
            raise ValueError(f"`hash` is prefix, session, consumer or header:<name>, not {self.hash!r}")


Balance = Literal["least_inflight", "weighted", "p2c", "first"] | Hash


class Tls(BaseSettings, frozen=True):
    """How https endpoints are trusted: PEM files of their authorities (default: the system's), and our certificate."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.key):
            raise ValueError("`cert` and `key` go together")


class Launch(msgspec.Struct, frozen=True):
    """How the supervisor starts an engine. `argv` is executed as it stands, never through a shell.

    `environment` is added to the supervisor's small allow-list; `ready` is the path whose 2xx answer means "model
    loaded"; `alive` is a path that the engine answers even while it is busy. `trial` is for engines that listen
    without a model: JSON to POST to `ready`, a request that is answered once the model is loaded, and refused if it
    never will be. `sample` is for engines that compute by themselves: JSON to POST to /v1/completions, the smallest
    piece of work. One that uses no processor though requests wait for it must answer that, or is ended.

    `key_variable` is where the engine reads the key that it shall ask of all who come; empty for one that asks for
    none. Each start has a key of its own, which nobody else on the machine knows.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = {}
    ready: str = "/health"
    alive: str = "/health"
    trial: str = ""
    sample: str = ""
    key_variable: str = ""


class Blame(Enum):
    """Whose fault a failed answer is. `UNCLEAR` ejects an endpoint only when seen from two consumers."""

    CLIENT = "client"
    ENDPOINT = "endpoint"
    UNCLEAR = "unclear"


S = TypeVar("S", bound=BaseSettings)


class BaseBackend(Generic[S]):
    """What every backend says about itself. Class attributes are defaults; settings may override them in `__init__`.

    Of the engine: `slots`, how many requests it takes at once, 0 for "do not count"; `reports_usage`, whether it sends
    a usage chunk on streams when asked by `stream_options.include_usage`; `generates_after_leave`, whether it finishes
    a call that is not streamed though its client has left; `withheld`, fields of a body that must not reach it,
    whatever a client writes; `renamed`, fields that it knows by another name only; `joins_parts`, whether the content
    of a message must be one text, not a list of texts; `choices`, how many of them a body's `n` gets at most, 0 for no
    bound; `answers_as`, what its answers call the model, empty for what it was asked for; `wants_uuids`, whether it
    takes UUIDs only as X-Request-ID: then it is told our id of a request, not the client's; `models_path`, where it
    lists its models as OpenAI does, below an endpoint's URL; `chosen`, why this engine, where the configuration left
    that open.

    Of the endpoints: `balance`, how one is chosen; `health`, the active check, None for none; `tls`, for https, None
    for the system's authorities; `mount`, the beginning of our paths that the path of an endpoint's URL stands for
    (`/v1`), empty where it is put before the whole of them.
    """

    slots: int = 0
    reports_usage: bool = True
    generates_after_leave: bool = False
    withheld: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = {}
    joins_parts: bool = False
    choices: int = 0
    answers_as: str = ""
    wants_uuids: bool = False
    balance: Balance = "least_inflight"
    health: Health | None = None
    tls: Tls | None = None
    mount: str = ""
    models_path: str = ""
    chosen: str = ""
    start_timeout: float = 120.0  # seconds from launch to ready
    stop_timeout: float = 10.0  # seconds from SIGTERM to SIGKILL

    def __init__(self, name: str, settings: S) -> None:
        self.name = name
        self.settings = settings

    def endpoints(self) -> Sequence[Endpoint]:
        """Addresses of servers that somebody else runs; empty for an engine that the supervisor starts."""
        return ()

    def launch(self, port: int) -> Launch | None:
        """How to start the engine so that it listens on 127.0.0.1:`port`; None when somebody else runs it."""
        return None

    def problems(self) -> Sequence[str]:
        """What is wrong before anything is started (a missing file, an engine that is not installed), in sentences."""
        return ()

    def model_path(self) -> str:
        """The file or folder that the engine loads, which the gateway looks at first; empty where none is named."""
        return ""

    def drawbacks(self) -> Sequence[str]:
        """Why another engine would serve better on this machine, in sentences; `auto` goes by them."""
        return ()

    def memory(self) -> int:
        """Bytes that the engine will take once its model is loaded, an estimate; 0 where nobody can tell."""
        return 0

    def resolve(self, load: "Load") -> "AnyBackend":
        """The backend that does the work: this one, or one of another engine, made by `load(engine, settings)`."""
        return self

    def model_name(self, model: str) -> str:
        """What the server calls the registry's `model`; the body's `model` field is rewritten to it."""
        return model

    def request_headers(self) -> Mapping[str, str]:
        """Headers for the server, such as its own credential. They replace a client's headers of the same name."""
        return {}

    def blame(self, status: int, body: bytes) -> Blame:
        """Whose fault an answer with `status` >= 500 is; `body` is its beginning (at most 4 KB)."""
        return Blame.ENDPOINT if status in (502, 503, 504) else Blame.UNCLEAR


AnyBackend = BaseBackend[Any]
Load = Callable[[str, Mapping[str, Any]], AnyBackend]

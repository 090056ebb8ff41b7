"""A compiled route: everything a request needs to know, worked out once when the configuration is loaded."""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from gateway.exchange import Exchange, Reply
from gateway.relay.chain import Chain
from gateway.relay.content import Keeping
from gateway.relay.dialect.kind import Dialect, find_dialect
from gateway.relay.target import Target

Serve = Callable[[Exchange], Awaitable[Reply]]


class Route(msgspec.Struct, frozen=True):
    """Where a path leads: to `models`, to one `target`, or to `serve`, an answer of the gateway's own.

    `cost` is milli-units, `body` bytes, times are seconds. `strip` is a prefix taken off before the path goes on.
    `dialect` is None where bytes are nobody's business; `is_mixed`: each request's own path names its dialect.
    `content` is how much of prompts and answers is kept, None for nothing.
    """

    path: str
    methods: frozenset[str]
    chain: Chain
    cost: int
    kind: Literal["models", "target", "own"]
    target: Target | None = None
    serve: Serve | None = None
    strip: str = ""
    body: int = 10_000_000
    permission: str = ""
    projects: tuple[str, ...] = ()
    costs: dict[str, int] = {}  # of methods that cost something else
    retry: bool = False
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 1800.0
    early_comments: float = 0.0  # seconds between two, while a stream waits for its model; 0: none
    dialect: Dialect | None = None
    is_mixed: bool = False
    content: Keeping | None = None

    def dialect_of(self, path: str) -> Dialect | None:
        """The dialect of a request for `path`."""
        return find_dialect(path) if self.is_mixed else self.dialect

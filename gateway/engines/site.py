"""What the engines of a supervisor share."""

from collections.abc import Iterator

import msgspec

from gateway.engines.leftovers import Leftovers
from gateway.engines.probe import Prober
from gateway.model_file import Digests


class Site(msgspec.Struct, frozen=True):
    """`alive` is the read end of the pipe that ends when the supervisor dies."""

    logs: str  # a directory
    alive: int
    leftovers: Leftovers
    prober: Prober
    numbers: Iterator[int]  # of the process runs
    digests: Digests = msgspec.field(default_factory=Digests)

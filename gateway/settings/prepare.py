"""A configuration file made ready to be served: loaded, checked, and with its demo keys."""

import msgspec

from gateway.settings.load import build, read
from gateway.settings.problem import Problem
from gateway.settings.schema import Config


class Prepared(msgspec.Struct, frozen=True):
    """A configuration that may be served. `demo_keys` are keys by tier, for the banner, where `demo` is on."""

    config: Config
    warnings: tuple[Problem, ...] = ()
    demo_keys: dict[str, str] = {}


def prepare(path: str) -> Prepared:
    """What start and reload do with the file at `path`; raises ConfigError with everything that is wrong."""
    return Prepared(build(read(path)))

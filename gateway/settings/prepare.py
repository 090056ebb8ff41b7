"""A configuration file made ready to be served: loaded, checked, and with its demo keys."""

from collections.abc import Callable

import msgspec

from gateway.settings.admin import hash_admin_key
from gateway.settings.check import find_problems
from gateway.settings.credentials import hash_keys
from gateway.settings.demo import add_demo_keys
from gateway.settings.load import build, read
from gateway.settings.overrides import write_out_overrides
from gateway.settings.problem import ConfigError, Problem
from gateway.settings.schema import Config


class Prepared(msgspec.Struct, frozen=True):
    """A configuration that may be served. `demo_keys` are keys by tier, for the banner, where `demo` is on."""

    config: Config
    warnings: tuple[Problem, ...]
    demo_keys: dict[str, str]


def prepare_to_serve(path: str, approve: Callable[[Config], None] = lambda _: None) -> Prepared:
    """What start and reload do with the file at `path`: `prepare`, and see that the admin address has a key."""
    prepared = prepare(path, approve)
    return msgspec.structs.replace(prepared, config=hash_admin_key(prepared.config))


def prepare(path: str, approve: Callable[[Config], None] = lambda _: None) -> Prepared:
    """The file at `path` as requests see it. `approve` may refuse it, before anything is written.

    Raises ConfigError with everything that is wrong, what `approve` raises, and OSError when keys that it
    makes cannot be kept.
    """
    document = read(path)
    config = build(document)
    problems = find_problems(config, document)
    if any(problem.level == "error" for problem in problems):
        raise ConfigError(problems)
    approve(config)
    config, keys = add_demo_keys(config) if config.demo else (config, {})
    return Prepared(hash_keys(write_out_overrides(config)), tuple(problems), keys)

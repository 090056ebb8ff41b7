"""Arguments that several commands share, and the gateway they speak of."""

import functools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from gateway.settings.credentials import parse_expiry
from gateway.settings.load import load
from gateway.settings.problem import ConfigError
from gateway.settings.schema import Config
from gateway.settings.units import Seconds

F = TypeVar("F", bound=Callable[..., Any])

_FILE = "config/gateway.yaml"


class Place(msgspec.Struct, frozen=True):
    """Which gateway is meant: its configuration file, and its state directory where that is given apart."""

    file: str
    override: str

    def config(self) -> Config:
        """The configuration; leaves with exit code 2 when it cannot be loaded."""
        try:
            return load(self.file)
        except ConfigError as error:
            raise click.UsageError(f"{self.file}: {error.problems[0]}; see `tollkeeper check {self.file}`") from None

    @property
    def state(self) -> str:
        return self.override or self.config().state.directory


def config_argument(command: F) -> F:
    """The argument FILE, as the parameter `file`."""
    return click.argument("file", envvar="TOLLKEEPER_CONFIG", default=_FILE, type=click.Path(dir_okay=False))(command)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--config` and `--state`, handed on as the parameter `place`."""

    @functools.wraps(command)
    def invoke(config: str, state: str, **rest: Any) -> Any:
        return command(place=Place(config, state), **rest)

    state = click.option(
        "--state", envvar="TOLLKEEPER_STATE", default="", help="State directory [the configuration's]."
    )
    file = click.option("--config", "-c", envvar="TOLLKEEPER_CONFIG", default=_FILE, show_default=True)
    return file(state(invoke))


def key_option(command: F) -> F:
    """`--key` of a caller. An argument can be read by every process of the machine: there are two better ways."""
    told = "Of the caller; - reads it from standard input, so that no process list shows it."
    return click.option("--key", envvar="TOLLKEEPER_KEY", default="", callback=_read_key, help=told)(command)


def _read_key(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    return sys.stdin.readline().strip() if value == "-" else value


def read_moment(ctx: click.Context, parameter: click.Parameter, value: str) -> float:
    """A date, a date-time or a duration from now, as unix seconds; nothing is 0.0."""
    try:
        return parse_expiry(value)
    except ValueError:
        pass
    try:
        return datetime.now(UTC).timestamp() + Seconds.parse(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a date such as 2027-01-31 nor a duration such as 30d") from None


def read_duration(ctx: click.Context, parameter: click.Parameter, value: str) -> float:
    """A duration in seconds."""
    try:
        return float(Seconds.parse(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None

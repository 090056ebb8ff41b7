"""The `tollkeeper` command. A command's module is imported only when it is used, so that `serve` starts fast."""

import importlib
import os
import sys

import click

import gateway

_COMMANDS = {
    "serve": "serve",
    "check": "check",
    "explain": "explain",
    "loadtest": "loadtest",
    "reload": "running",
    "drain": "running",
    "status": "running",
    "key": "key",
    "consumer": "consumer",
    "store": "store",
    "models": "models",
    "usage": "usage",
    "audit": "audit",
    "trace": "trace",
    "top": "top",
    "monitoring": "monitoring",
    "errors": "errors",
    "schema": "schema",
}


class _Lazy(click.Group):
    """A group whose commands live in modules of this package, under their own names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"gateway.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gateway.__version__)
def tollkeeper() -> None:
    """An API gateway for model inference: identity, exact quotas, supervised engines, one trace per request.

    Exit codes: 0 done; 1 what was asked is not so; 2 wrong usage; 3 the gateway cannot start.
    """


def main() -> None:
    """The console script. A folder `plugins` in the working directory must shadow nothing."""
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    tollkeeper()

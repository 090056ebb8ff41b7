"""The `tollkeeper` command. Each command's module is imported when it is used, so that `serve` starts fast."""

import importlib
import os
import sys

import click

_COMMANDS = {
    "serve": "gateway.cli.serve",
}


class _Lazy(click.Group):
    """A group whose commands live in modules of their own, under their own names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name)
        return command


@click.command(cls=_Lazy)
@click.version_option(package_name="tollkeeper")
def tollkeeper() -> None:
    """An API gateway for model inference: identity, exact quotas, supervised engines."""


def main() -> None:
    """The console script. A folder `plugins/` in the working directory must shadow nothing."""
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    tollkeeper()

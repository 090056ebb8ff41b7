"""Problems of a configuration, printed one a line as compilers do, so that editors can jump to them."""

from collections.abc import Iterable

import click

from gateway.settings.problem import Problem

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def print_problems(file: str, problems: Iterable[Problem]) -> None:
    """`FILE:LINE: error: path: message` on stderr."""
    for problem in problems:
        where = f"{file}:{problem.line}" if problem.line else file
        level = click.style(problem.level, fg=_COLOURS[problem.level], bold=True)
        path = click.style(f"{problem.path}: ", bold=True) if problem.path else ""
        click.echo(f"{where}: {level}: {path}{problem.message}", err=True)

"""`tollkeeper check`: everything that is wrong with a configuration, without serving it."""

import asyncio
from collections.abc import Sequence

import click
import msgspec

from gateway.cli.offers import check_offers
from gateway.cli.option import config_argument
from gateway.cli.report import print_problems
from gateway.settings.check import find_problems
from gateway.settings.load import build, read
from gateway.settings.problem import ConfigError, Problem


@click.command()
@config_argument
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--ask", is_flag=True, help="Also ask servers of others, with their keys, which models they have.")
def check(file: str, strict: bool, ask: bool) -> None:
    """Check the configuration FILE: keys, values, references, files, plugins, engines. Exit code 1 on an error."""
    problems = _find(file, ask)
    wrong = [problem for problem in problems if problem.level != "note"]
    errors = sum(strict or problem.level == "error" for problem in wrong)
    print_problems(file, problems)
    warnings = len(wrong) - errors
    click.echo(f"{file}: {_count(errors, 'error')}, {_count(warnings, 'warning')}" if wrong else f"{file}: good")
    raise SystemExit(1 if errors else 0)


def _find(file: str, ask: bool) -> Sequence[Problem]:
    try:
        document = read(file)
        config = build(document)
        problems = find_problems(config, document)
    except ConfigError as error:
        return error.problems
    if ask and not any(problem.level == "error" for problem in problems):
        asked = asyncio.run(check_offers(config))
        problems += [msgspec.structs.replace(problem, line=document.line(problem.path)) for problem in asked]
    return problems


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

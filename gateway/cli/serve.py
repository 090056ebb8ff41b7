"""`tollkeeper serve`: start the gateway."""

from collections.abc import Sequence

import click

from gateway.cli.banner import describe_start
from gateway.cli.option import config_argument
from gateway.cli.report import print_problems
from gateway.settings.prepare import Prepared
from gateway.settings.problem import ConfigError


@click.command()
@config_argument
def serve(file: str) -> None:
    """Serve the configuration FILE until SIGTERM or SIGINT. SIGHUP, or `tollkeeper reload`, reads it again."""
    from gateway.supervisor import run

    def greet(prepared: Prepared, addresses: Sequence[str]) -> None:
        print_problems(file, prepared.warnings)
        click.echo(describe_start(prepared, addresses))

    try:
        code = run(file, greet)
    except ConfigError as error:
        reason = _sum_up(file, error)
    except OSError as error:
        reason = str(error)
    else:
        raise SystemExit(code)
    click.echo(f"tollkeeper: cannot start: {reason}", err=True)
    raise SystemExit(3)


def _sum_up(file: str, error: ConfigError) -> str:
    """One problem in one line; several are listed, and counted."""
    if len(error.problems) == 1:
        return f"{file}: {error.problems[0]}"
    print_problems(file, error.problems)
    return f"{file} has {len(error.problems)} problems"

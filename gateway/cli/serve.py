"""`tollkeeper serve`: start the gateway."""

from collections.abc import Sequence

import click

from gateway.cli.option import config_argument
from gateway.cli.report import print_problems
from gateway.settings.prepare import Prepared
from gateway.settings.problem import ConfigError


@click.command()
@config_argument
def serve(file: str) -> None:
    """Serve the configuration FILE until SIGTERM or SIGINT. SIGHUP, or `tollkeeper reload`, reads it again."""
    from gateway.supervisor import run

    try:
        code = run(file, _print_banner)
    except ConfigError as error:
        print_problems(file, error.problems)
        reason = f"{file} has {len(error.problems)} problems" if len(error.problems) > 1 else f"see {file}"
    except OSError as error:
        reason = str(error)
    else:
        raise SystemExit(code)
    click.echo(f"tollkeeper: cannot start: {reason}", err=True)
    raise SystemExit(3)


def _print_banner(prepared: Prepared, addresses: Sequence[str]) -> None:
    click.echo(f"tollkeeper serves {', '.join(addresses)}")
    for tier, key in prepared.demo_keys.items():
        click.echo(f"  {tier:12} {key}")

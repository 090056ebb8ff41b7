"""`tollkeeper serve`: start the gateway."""

from collections.abc import Sequence

import click

from gateway.settings.prepare import Prepared
from gateway.settings.problem import ConfigError


@click.command()
@click.argument("file", default="config/gateway.yaml")
def serve(file: str) -> None:
    """Serve the configuration FILE until SIGTERM or SIGINT. SIGHUP, or `tollkeeper reload`, reads it again."""
    from gateway.supervisor import run

    try:
        raise SystemExit(run(file, _print_banner))
    except (ConfigError, OSError) as error:
        click.echo(f"tollkeeper: cannot start: {error}", err=True)
        raise SystemExit(3) from None


def _print_banner(prepared: Prepared, addresses: Sequence[str]) -> None:
    click.echo(f"tollkeeper serves {', '.join(addresses)}")
    for tier, key in prepared.demo_keys.items():
        click.echo(f"  {tier:12} {key}")

"""`tollkeeper reload`, `drain` and `status`: what an operator asks of a running gateway."""

import json
from typing import Any

import click

from gateway.cli.option import Place, place_options
from gateway.cli.session import NotRunning, Refused, ask


@click.command()
@place_options
def reload(place: Place) -> None:
    """Check the file again and serve it; requests that run keep the configuration they began with."""
    _command(place, "reload")
    click.echo("reloaded")


@click.command()
@place_options
def drain(place: Place) -> None:
    """Stop accepting, finish what runs, and exit."""
    _command(place, "drain")
    click.echo("draining")


@click.command()
@place_options
@click.option("--json", "as_json", is_flag=True, help="As the gateway tells it, for scripts.")
def status(place: Place, as_json: bool) -> None:
    """Show processes, engines and endpoints of the running gateway."""
    data = _command(place, "status")
    click.echo(json.dumps(data, indent=2) if as_json else "\n".join(_outline(data)))


def _command(place: Place, name: str) -> Any:
    try:
        return ask(place.state, name)
    except (NotRunning, Refused) as error:
        click.echo(f"tollkeeper: {error}", err=True)
        raise SystemExit(1) from None


def _outline(data: Any, indent: str = "") -> list[str]:
    """Nested data as indented lines."""
    lines: list[str] = []
    entries = data.items() if isinstance(data, dict) else ((f"{at + 1}.", item) for at, item in enumerate(data))
    for name, value in entries:
        if isinstance(value, dict | list | tuple) and value:
            lines += [f"{indent}{name}", *_outline(value, indent + "  ")]
        else:
            shown = f"{value:.3f}" if isinstance(value, float) else "-" if value in (None, "", [], {}, ()) else value
            lines.append(f"{indent}{name}: {shown}")
    return lines

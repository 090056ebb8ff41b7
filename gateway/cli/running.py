"""`tollkeeper reload`, `drain` and `status`: what an operator asks of a running gateway."""

import json
from collections.abc import Iterator
from typing import Any

import click

from gateway.cli.failure import one_line
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
    with one_line(NotRunning, Refused):
        return ask(place.state, name)


def _outline(data: Any, indent: str = "") -> Iterator[str]:
    """Nested data as indented lines; what is empty is left out."""
    for name, value in data.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{name}"
            yield from _outline(value, indent + "  ")
        elif isinstance(value, list | tuple) and value:
            yield f"{indent}{name}"
            for item in value:
                yield from _item(item, indent + "  ")
        elif value not in (None, "", [], {}, ()):
            yield f"{indent}{name}: {_scalar(value)}"


def _item(item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, dict) and not any(isinstance(value, dict | list | tuple) for value in item.values()):
        yield indent + ", ".join(f"{name} {_scalar(value)}" for name, value in item.items())
    elif isinstance(item, dict):
        yield from _outline(item, indent)
    else:
        yield indent + _scalar(item)


def _scalar(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)

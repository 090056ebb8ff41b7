"""`tollkeeper consumer`: who may hold keys. Consumers of the configuration file are changed in the file."""

from typing import Any

import click

from gateway.cli.directory import change
from gateway.cli.option import Place, place_options, read_moment
from gateway.cli.table import draw

_COLUMNS = ("name", "tier", "override_tier", "role", "project", "models", "routes", "methods", "addresses", "source")


@click.group()
def consumer() -> None:
    """List, show, set and remove consumers."""


@consumer.command("list")
@place_options
def list_consumers(place: Place) -> None:
    """List everybody, of file and store."""
    click.echo(draw(change(place, "consumer.list", {}), _COLUMNS), nl=False)


@consumer.command()
@place_options
@click.argument("name")
def show(place: Place, name: str) -> None:
    """Show NAME."""
    click.echo(draw([change(place, "consumer.show", {"name": name})], _COLUMNS), nl=False)


@consumer.command("set")
@place_options
@click.argument("name")
@click.option("--tier", default="", help="What it may spend [its role's].")
@click.option("--role", default="", help="What it may do.")
@click.option("--project", default="")
@click.option("--models", multiple=True, metavar="PATTERN", help="Models it may use; repeat for more [all].")
@click.option("--routes", multiple=True, metavar="PATTERN", help="Paths it may use; repeat for more [all].")
@click.option("--methods", multiple=True, metavar="METHOD", help="Methods of HTTP it may use; repeat for more [all].")
@click.option("--addresses", multiple=True, metavar="NETWORK", help="Whence it may call; repeat for more [anywhere].")
@click.option("--override-tier", default="", help="Another tier for a while.")
@click.option("--override-until", callback=read_moment, default="", help="2027-01-31, or 30d from now [never].")
def set_consumer(place: Place, override_until: float, **consumer: Any) -> None:
    """Make NAME what the options say, whether it was there or not."""
    consumer["override_until"] = int(override_until * 1e6)
    click.echo(draw([change(place, "consumer.set", consumer)], _COLUMNS), nl=False)


@consumer.command()
@place_options
@click.argument("name")
def remove(place: Place, name: str) -> None:
    """Remove NAME and all its keys."""
    change(place, "consumer.remove", {"name": name})
    click.echo(f"removed {name}")

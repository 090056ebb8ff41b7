"""`tollkeeper schema`: the configuration's JSON Schema, which `make schema` keeps in `config/`."""

import json

import click

from gateway.settings.json_schema import make_schema


@click.command(hidden=True)
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    click.echo(json.dumps(make_schema(), indent=1, ensure_ascii=False))

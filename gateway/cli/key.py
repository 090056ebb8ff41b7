"""`tollkeeper key`: API keys in the store. Keys of the configuration file are listed, and changed in the file."""

import sys
from datetime import UTC, datetime
from typing import Any

import click

from gateway.cli.directory import change
from gateway.cli.option import Place, place_options, read_duration, read_moment
from gateway.cli.table import draw, moment
from gateway.relay.directory import read_consumers
from gateway.settings.credentials import hash_keys

_COLUMNS = ("id", "consumer", "ends_in", "state", "last_used", "models", "routes", "methods", "source")


@click.group()
def key() -> None:
    """Make, list, revoke and rotate API keys. A running gateway heeds every change within a second."""


@key.command()
@place_options
@click.option("--consumer", required=True, help="Whose key; made where there is none yet, of --tier or --role.")
@click.option("--tier", default="", help="The tier of a consumer that is to be made.")
@click.option("--role", default="", help="The role of a consumer that is to be made.")
@click.option("--project", default="", help="The project of a consumer that is to be made.")
@click.option("--expires", callback=read_moment, default="", help="2027-01-31, or 30d from now [never].")
@click.option("--models", multiple=True, metavar="PATTERN", help="Models it may use; repeat for more [all].")
@click.option("--routes", multiple=True, metavar="PATTERN", help="Paths it may use; repeat for more [all].")
@click.option("--methods", multiple=True, metavar="METHOD", help="Methods of HTTP it may use; repeat for more [all].")
@click.option("--import-stdin", is_flag=True, help="Take a key made elsewhere from standard input.")
def new(place: Place, import_stdin: bool, **wish: Any) -> None:
    """Make a key and print it, for the only time: the store keeps its hash."""
    if import_stdin:
        wish["key"] = sys.stdin.readline().strip()
    made = change(place, "key.new", wish)
    click.echo(f"key {made['id']} of {made['consumer']}", err=True)
    if not import_stdin:
        click.echo(made["key"])


@key.command("list")
@place_options
@click.option("--consumer", default="", help="Only this one's.")
def list_keys(place: Place, consumer: str) -> None:
    """List keys, never the secrets."""
    now = datetime.now(UTC).timestamp()
    stored = change(place, "key.list", {"consumer": consumer})
    rows = [{**row, **_state(row, now), "last_used": moment(row["last_used"]), "source": "store"} for row in stored]
    for _, credential in read_consumers(hash_keys(place.config()).consumers):
        if consumer in ("", credential.consumer):
            row = {"id": credential.id, "consumer": credential.consumer, "ends_in": "", "source": "file"}
            scopes = {"models": credential.key_models, "routes": credential.key_routes, "methods": credential.methods}
            state = _state({"expires": credential.expires, "revoked": 0.0}, now)
            rows.append({**row, **scopes, **state, "last_used": ""})
    click.echo(draw(rows, _COLUMNS), nl=False)


def _state(row: dict[str, Any], now: float) -> dict[str, str]:
    if row["revoked"]:
        return {"state": f"revoked {moment(row['revoked'])}"}
    if not row["expires"]:
        return {"state": "good"}
    return {"state": f"{'expired' if row['expires'] <= now else 'good until'} {moment(row['expires'])}"}


@key.command()
@place_options
@click.argument("id")
def revoke(place: Place, id: str) -> None:
    """End the key ID now."""
    change(place, "key.revoke", {"id": id})
    click.echo(f"revoked {id}")


@key.command()
@place_options
@click.argument("id")
@click.option("--overlap", callback=read_duration, default="0s", help="How long the old key lives on [0s].")
def rotate(place: Place, id: str, overlap: float) -> None:
    """Make a key with the rights of ID, which ends after the overlap, and print it."""
    made = change(place, "key.rotate", {"id": id, "overlap": overlap})
    click.echo(f"key {made['id']} of {made['consumer']} replaces {id}", err=True)
    click.echo(made["key"])

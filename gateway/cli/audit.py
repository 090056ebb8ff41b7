"""`tollkeeper audit`: who did what to the gateway, and whether the log of it is whole."""

import json
import time
from typing import Any

import click

from gateway.cli.directory import change
from gateway.cli.option import Place, place_options, read_duration
from gateway.cli.table import draw

_COLUMNS = ("when", "actor", "action", "subject", "address", "outcome", "more")


@click.group()
def audit() -> None:
    """Administrative acts and failed logins, chained so that a change of the log shows."""


@audit.command("list")
@place_options
@click.option("--actor", default="", help="Such as admin, or 'operator uid 0 pid 12'.")
@click.option("--action", default="", help="Such as key.new, key.* or login.failed.")
@click.option("--subject", default="", help="What it was done to.")
@click.option("--address", default="", help="From where.")
@click.option("--since", default="7d", callback=read_duration, show_default=True, help="How far back.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="For scripts, with the hashes.")
def list_entries(place: Place, since: float, as_json: bool, **filters: Any) -> None:
    """List entries, the newest first."""
    begin = time.time_ns() // 1000 - int(since * 1_000_000)
    entries = change(place, "audit.list", {**filters, "since": begin})
    click.echo(json.dumps(entries, indent=2) if as_json else draw([_row(one) for one in entries], _COLUMNS), nl=as_json)


@audit.command()
@place_options
def verify(place: Place) -> None:
    """Follow the chain of every instance in the store. Exit code 1 where an entry was changed, removed or inserted."""
    verdicts = change(place, "audit.verify", {})
    for one in verdicts:
        click.echo(f"{one['instance']}: {one['entries']} entries, {one['fault'] or 'whole'}")
    if any(one["fault"] for one in verdicts):
        raise SystemExit(1)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    more = ", ".join(f"{name} {value}" for name, value in entry["details"].items())
    return {**entry, "when": entry["ts"][:19] + "Z", "more": more}

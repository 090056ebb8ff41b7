"""`tollkeeper usage`: what each consumer used in a month, priced."""

from datetime import UTC, datetime

import click

from gateway.cli.directory import change
from gateway.cli.option import Place, place_options
from gateway.cli.table import draw
from gateway.control.analytics.report import COLUMNS, write_csv


@click.command()
@place_options
@click.option("--month", default="", metavar="2026-11", help="Or 2026-11-15, for months from that day [this month].")
@click.option("--consumer", default="", help="Of this one alone [all].")
@click.option("--csv", "as_csv", is_flag=True, help="For spreadsheets and billing.")
def usage(place: Place, month: str, consumer: str, as_csv: bool) -> None:
    """Show requests, units, tokens and cost in USD, by consumer and model. It adds up to the ledger."""
    wanted = {"month": month or f"{datetime.now(UTC):%Y-%m}", "consumer": consumer}
    report = change(place, "usage", wanted)
    if as_csv:
        click.echo(write_csv(report["lines"]), nl=False)
        return
    click.echo(draw(report["lines"], COLUMNS), nl=False)
    total = report["total"]
    click.echo(f"{total['requests']} requests, {total['units']:g} units, {total['total_cost']:.6f} USD", err=True)

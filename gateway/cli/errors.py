"""`tollkeeper errors`: the catalogue of what the gateway says to clients."""

import click

from gateway.errors import CATALOGUE, Entry


@click.command()
@click.argument("number", type=int, required=False)
@click.option("--markdown", is_flag=True, help="As the table of the README.")
def errors(number: int | None, markdown: bool) -> None:
    """Explain the error NUMBER, or list the whole catalogue."""
    if markdown:
        click.echo(markdown_table(), nl=False)
    elif number is None:
        for entry in CATALOGUE.values():
            click.echo(f"{entry.number}  {entry.status}  {entry.code:26}  {entry.title}")
    elif number in CATALOGUE:
        _explain(CATALOGUE[number])
    else:
        click.echo(f"tollkeeper: there is no error {number}", err=True)
        raise SystemExit(1)


def _explain(entry: Entry) -> None:
    click.echo(f"{entry.number} {entry.code} (HTTP {entry.status}, {entry.category})\n{entry.title}.")
    click.echo(f"Why: {entry.cause}\nWhat to do: {entry.cure}")


def markdown_table() -> str:
    """The catalogue for the README; a test compares both."""
    lines = ["| number | status | code | meaning | why | what to do |", "|---|---|---|---|---|---|"]
    lines.extend(
        f"| {e.number} | {e.status} | `{e.code}` | {e.title} | {e.cause} | {e.cure} |" for e in CATALOGUE.values()
    )
    return "\n".join(lines) + "\n"

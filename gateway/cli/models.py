"""`tollkeeper models`: which models are loaded; load and unload them; watch; read what engines print; fetch models."""

import json
import time
from typing import Any

import click

from gateway.cli.failure import one_line
from gateway.cli.models_pull import cache, pull
from gateway.cli.option import Place, place_options
from gateway.cli.session import NotRunning, Refused, ask
from gateway.cli.table import draw

_COLUMNS = ("model", "backend", "status", "in_use", "waiting", "idle", "memory", "load_seconds", "restarts", "wait")
_PAUSE = 0.5  # seconds between two looks
_PATIENCE = 50.0  # seconds that a command waits for an engine; the engine goes on after that


@click.group()
def models() -> None:
    """See, load and unload the models of the running gateway; fetch new ones."""


models.add_command(pull)
models.add_command(cache)


@models.command("list")
@place_options
@click.option("--json", "as_json", is_flag=True, help="As the gateway tells it, for scripts.")
def list_models(place: Place, as_json: bool) -> None:
    """List the models of the configuration and whether each is loaded."""
    rows = _command(place, "models.list")
    click.echo(json.dumps(rows, indent=2) if as_json else draw([_row(row) for row in rows], _COLUMNS), nl=as_json)


@models.command()
@place_options
@click.argument("model")
def load(place: Place, model: str) -> None:
    """Load a model, and unload others for it where they must make room. It stays for its minimum residency."""
    click.echo(f"{model}: {_command(place, 'models.load', model=model, patience=_PATIENCE)['status']}")


@models.command()
@place_options
@click.argument("model")
def unload(place: Place, model: str) -> None:
    """Unload a model once nobody uses it, pinned or not. The next request for it loads it again."""
    click.echo(f"{model}: {_command(place, 'models.unload', model=model, patience=_PATIENCE)['status']}")


@models.command()
@place_options
def watch(place: Place) -> None:
    """Tell every change of a model until interrupted."""
    known: dict[str, str] = {}
    while True:
        for row in _command(place, "models.list"):
            told = row["status"] + (f" ({row['wait']})" if row.get("wait") else "")
            if known.get(row["model"]) != told:
                known[row["model"]] = told
                click.echo(f"{time.strftime('%H:%M:%S')}  {row['model']}: {told}")
        time.sleep(_PAUSE)


@models.command()
@place_options
@click.argument("model")
def logs(place: Place, model: str) -> None:
    """Print the last lines of a model's engine."""
    for line in _command(place, "models.logs", model=model):
        click.echo(line)


def _command(place: Place, name: str, **arguments: Any) -> Any:
    with one_line(NotRunning, Refused):
        return ask(place.state, name, arguments)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers as a person reads them."""
    cells = {name: row.get(name, "") for name in _COLUMNS}
    if row["status"] == "remote":
        return cells
    memory = f"{row['memory'] / 1e9:.2f} GB" if row["memory"] else "?"
    return {
        **cells, "memory": memory + (", pinned" if row["pinned"] else ""),
        "load_seconds": f"{row['load_seconds']:.1f}", "idle": f"{row['idle']:.0f} s" if row["idle"] else "",
    }  # fmt: skip

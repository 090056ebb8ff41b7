"""`tollkeeper models pull` and `tollkeeper models cache`: models of the Hugging Face hub on this machine's disk.

No gateway need run. huggingface_hub is the extra `hub`, imported when it is needed.
"""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from gateway.cli.table import draw

if TYPE_CHECKING:
    from gateway.cli.hub import Listing
    from gateway.cli.hub_cache import Held

_COLUMNS = ("model", "version", "size", "refs")
_MISSING = "the hub's library is missing: pip install 'tollkeeper[hub]'"


@click.command()
@click.argument("model", metavar="ORG/NAME[:FILE]")
@click.option("--to", "folder", default="", type=click.Path(file_okay=False), help="A folder [the hub's cache].")
def pull(model: str, folder: str) -> None:
    """Fetch a model, or FILE of it (* stands for anything), from the Hugging Face hub; HF_TOKEN opens what is private.

    Goes on where an earlier call broke off, compares checksums, prints where the model lies.
    """
    hub = _import("gateway.cli.hub")
    try:
        listing = hub.list_files(*hub.split_name(model))
        _fetch(hub, listing, folder)
        click.echo(folder or hub.link(listing))
    except hub.Unavailable as error:
        _leave(str(error))
    except KeyboardInterrupt:
        _leave("interrupted; what came is kept, the same command goes on there")


@click.group()
def cache() -> None:
    """See and prune what the hub's cache holds."""


@cache.command("list")
def list_cache() -> None:
    """List the models of the cache, each version with its size, and what broke off."""
    click.echo(_table(_import("gateway.cli.hub_cache").list_held()), nl=False)


@cache.command()
@click.argument("models", nargs=-1, metavar="[ORG/NAME]...")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(models: tuple[str, ...], yes: bool) -> None:
    """Delete what broke off and versions that were replaced by newer ones, or the models that are named, whole."""
    hub = _import("gateway.cli.hub_cache")
    held = hub.list_held()
    if absent := sorted(set(models) - {one.model for one in held}):
        _leave(f"not in the cache: {', '.join(absent)}")
    doomed = [one for one in held if (one.model in models if models else not one.refs)]
    if not doomed:
        click.echo("nothing to delete")
        return
    click.echo(_table(doomed), nl=False, err=True)
    if not yes:
        click.confirm("Delete these?", abort=True, err=True)
    click.echo(f"{decimal(hub.delete(doomed))} freed")


def _fetch(hub: Any, listing: "Listing", folder: str) -> None:
    places = [(file, hub.place(listing, file, folder)) for file in listing.files]
    rest = [(file, target, hub.missing(target, file)) for file, target in places]
    hub.check_space(places[0][1].parent, sum(missing for _, _, missing in rest))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        for file, target, missing in rest:
            task = progress.add_task(file.name, total=file.size, completed=file.size - missing)
            if missing or not target.exists():
                hub.fetch(listing.model, target, file, lambda size, task=task: progress.update(task, completed=size))


def _table(held: "Sequence[Held]") -> str:
    return draw([{**one._asdict(), "version": one.version[:12], "size": decimal(one.size)} for one in held], _COLUMNS)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gateway"):
            raise
        _leave(_MISSING)


def _leave(reason: str) -> NoReturn:
    click.echo(f"tollkeeper: {reason}", err=True)
    raise SystemExit(1)

"""`tollkeeper models pull` and `tollkeeper models cache`: models of the Hugging Face hub on this machine's disk.

No gateway need run. huggingface_hub is the extra `hub`, imported when it is needed.
"""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gateway.cli.table import draw

if TYPE_CHECKING:
    from gateway.hub.cache import Held
    from gateway.hub.download import HubFile

_COLUMNS = ("model", "version", "size", "refs")
_MISSING = "the hub's library is missing: pip install 'tollkeeper[hub]'"


@click.command()
@click.argument("model", metavar="ORG/NAME[:FILE]")
@click.option("--to", "folder", default="", type=click.Path(file_okay=False), help="A folder [the hub's cache].")
def pull(model: str, folder: str) -> None:
    """Fetch a model, or FILE of it (* stands for anything), from the Hugging Face hub; HF_TOKEN opens what is private.

    Goes on where an earlier call broke off, compares checksums, prints where the model lies.
    """
    hub = _import("gateway.hub.download")
    try:
        click.echo(_fetch(model, folder))
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
    click.echo(_table(_import("gateway.hub.cache").list_held()), nl=False)


@cache.command()
@click.argument("models", nargs=-1, metavar="[ORG/NAME]...")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(models: tuple[str, ...], yes: bool) -> None:
    """Delete what broke off and versions that were replaced by newer ones, or the models that are named, whole."""
    hub = _import("gateway.hub.cache")
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


def _fetch(name: str, folder: str) -> str:
    """Pull with a bar for each file."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(file: "HubFile", there: int) -> None:
            if file.name not in tasks:
                tasks[file.name] = progress.add_task(file.name, total=file.size)
            progress.update(tasks[file.name], completed=there)

        where: str = _import("gateway.hub.pull").pull(name, folder, tell)
        return where


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

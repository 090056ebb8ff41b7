"""`tollkeeper store`: the database of keys, consumers and traces."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from gateway.backlog import backlog_bytes
from gateway.cli.failure import one_line
from gateway.cli.option import Place, place_options, read_duration
from gateway.cli.table import moment
from gateway.settings.site import State
from gateway.settings.state import StateBusy, claim, is_claimed, is_url, journal_folder, store_location
from gateway.settings.units import Seconds


@click.group()
def store() -> None:
    """Look at, upgrade, prune, back up and restore the database of keys, consumers and traces."""


@store.command()
@place_options
def status(place: Place) -> None:
    """Show what is stored, since when, and what it takes of the disk."""
    with _told():
        from gateway.control.inventory import describe_store
        from gateway.control.store import look_into, show

        location = _location(place)
        opened = look_into(location)
        waiting = backlog_bytes(journal_folder(place.state))
        facts = {"store": show(location), **describe_store(opened), "journals": waiting}
        opened.close()
        for name in ("oldest", "newest"):
            facts[name] = moment(facts.get(name, 0))
        for name, value in facts.items():
            click.echo(f"{name + ':':10} {_cell(name, value)}")


@store.command()
@place_options
def upgrade(place: Place) -> None:
    """Bring the database to this version's schema, making it if need be. A gateway does so itself with its SQLite."""
    with _told(), _alone(place, needed=not is_url(place.config().state.database)):
        from gateway.control.store import upgrade_store
        from gateway.control.tables import REVISION

        before = upgrade_store(_location(place, wanted=False))
        click.echo(f"has schema {REVISION}" if before == REVISION else f"{before or 'empty'} -> schema {REVISION}")


@store.command()
@place_options
@click.option("--older-than", callback=read_duration, default="0s", help="Such as 30d [as the file says].")
def prune(place: Place, older_than: float) -> None:
    """Remove what is too old or too much, as a gateway does by itself. Where none runs, the file becomes smaller."""
    limits = place.config().state
    if older_than:
        limits = msgspec.structs.replace(limits, retention=Seconds(older_than))
    with _told():
        _prune(place, limits)


@store.command("roll-up")
@place_options
def roll_up(place: Place) -> None:
    """Make the sums by hour and day anew from the traces that are there. A day of which some were pruned stays."""
    with _told():
        from gateway.control.analytics.roller import rebuild_all
        from gateway.control.store import open_store

        opened = open_store(_location(place))
        click.echo(f"rolled up {rebuild_all(opened)} days")
        opened.close()


@store.command()
@place_options
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(place: Place, file: Path) -> None:
    """Write a checked copy to FILE, while the gateway runs or not."""
    with _told():
        from gateway.control.backup import back_up

        back_up(_location(place), file)
        click.echo(f"{file}: {file.stat().st_size:,} bytes")


@store.command()
@place_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore(place: Place, file: Path, yes: bool) -> None:
    """Put the copy FILE in the place of the store. No gateway may run with it; what came later is gone."""
    with _told(), _alone(place, needed=True):
        from gateway.control.backup import restore as put_back
        from gateway.control.store import show

        location = _location(place, wanted=False)
        if not yes:
            click.confirm(f"Everything in {show(location)} is replaced by {file}. Go on?", abort=True)
        put_back(location, file)
        click.echo(f"{show(location)} is what {file} was")


def _prune(place: Place, limits: State) -> None:
    from gateway.control.retention import AGE, SIZE, Retention, vacuum
    from gateway.control.store import open_store

    opened = open_store(_location(place))
    retention = Retention(opened, limits, lambda: time.time_ns() // 1000)
    while retention.step():
        pass
    if not opened.is_shared and not is_claimed(place.state):
        vacuum(opened.writing)
    opened.close()
    click.echo(f"removed {retention.removed[AGE]} traces for their age, {retention.removed[SIZE]} for the store's size")


def _location(place: Place, wanted: bool = True) -> str:
    """Where the store is; `wanted`: it must be there."""
    location = store_location(place.state, place.config().state.database)
    if wanted and not is_url(location) and not os.path.exists(location):
        raise FileNotFoundError(f"there is no store {location}")
    return location


@contextlib.contextmanager
def _alone(place: Place, needed: bool) -> Iterator[None]:
    """No gateway may start or run in the state directory meanwhile. Raises StateBusy."""
    if not needed:
        yield
        return
    lock = claim(place.state)
    try:
        yield
    finally:
        os.close(lock)


def _told() -> contextlib.AbstractContextManager[None]:
    """What goes wrong is one line, and exit code 1."""
    from sqlalchemy.exc import SQLAlchemyError

    from gateway.control.schema import StoreError

    return one_line(StoreError, SQLAlchemyError, StateBusy, OSError)


def _cell(name: str, value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value) or "-"

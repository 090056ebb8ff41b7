"""Changes to keys and consumers: through the running gateway, which tells its workers, or in the store itself."""

import os
import time
from typing import Any

from gateway.cli.failure import one_line
from gateway.cli.option import Place
from gateway.cli.session import NotRunning, Refused, ask
from gateway.link import Command, Done
from gateway.settings.state import audit_head_file, is_claimed, read_instance, store_location
from gateway.supervisor.act import describe_act


def change(place: Place, name: str, arguments: dict[str, Any]) -> Any:
    """Run one of control's commands and return its data; leaves with exit code 1 and the reason when it is refused."""
    state = place.state
    with one_line(NotRunning, Refused, OSError):
        return ask(state, name, arguments) if is_claimed(state) else _change_store(place, name, arguments)


def _change_store(place: Place, name: str, arguments: dict[str, Any]) -> Any:
    """The command on the store itself; what it changes is told to the audit log as a running gateway would."""
    from gateway.control.audit.book import Book
    from gateway.control.command import Commands
    from gateway.control.consumer import DirectoryError
    from gateway.control.directory import Directory
    from gateway.control.store import StoreError, open_store

    os.makedirs(place.state, mode=0o700, exist_ok=True)
    try:
        store = open_store(store_location(place.state, place.config().state.database))
        directory = Directory(store, place.config(), _unix_microseconds)
        book = Book(store, read_instance(place.state), audit_head_file(place.state), _unix_microseconds)
        data = Commands(store, directory, book).run(name, arguments).data
    except (StoreError, DirectoryError) as error:
        raise Refused(str(error)) from None
    act = describe_act(Command(name, arguments), Done(data), f"operator uid {os.getuid()} pid {os.getpid()}")
    if act is not None:
        book.note(**act)
    return data


def _unix_microseconds() -> int:
    return time.time_ns() // 1000

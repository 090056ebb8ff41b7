"""The operator's commands by name, for a running gateway (over the link) and for the store alone (from the CLI)."""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from gateway.control.analytics.month import read_month
from gateway.control.analytics.report import parse_month
from gateway.control.analytics.roller import fold_all
from gateway.control.api.scope import Scope
from gateway.control.audit.book import Book
from gateway.control.audit.question import Question, find_entries
from gateway.control.consumer import Change, Consumer, DirectoryError, StoreBusy
from gateway.control.directory import Directory, NewKey
from gateway.control.query.lookup import find_slowest, find_trace
from gateway.control.store import Store


class _Named(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Listed(msgspec.Struct, forbid_unknown_fields=True):
    consumer: str = ""


class _Revoked(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class _Rotated(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    overlap: float = 0.0  # seconds


class _RotatedOwn(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    consumer: str
    overlap: float = 0.0  # seconds


class _Month(msgspec.Struct, forbid_unknown_fields=True):
    month: str
    consumer: str = ""


class _Traced(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class _Slowest(msgspec.Struct, forbid_unknown_fields=True):
    since: int  # unix microseconds
    limit: int


class _Noted(msgspec.Struct, forbid_unknown_fields=True):
    actor: str
    action: str
    subject: str = ""
    outcome: str = "done"
    details: dict[str, str] = {}


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Commands:
    """Runs commands on a store, its directory and its audit log. `run` blocks."""

    def __init__(self, store: Store, directory: Directory, book: Book) -> None:
        consumers = directory.consumers
        self._commands: dict[str, tuple[type[msgspec.Struct], Callable[[Any], Change]]] = {
            "key.new": (NewKey, directory.new_key),
            "key.list": (_Listed, lambda it: directory.list_keys(it.consumer)),
            "key.revoke": (_Revoked, lambda it: directory.revoke(it.id)),
            "key.rotate": (_Rotated, lambda it: directory.rotate(it.id, it.overlap)),
            "me.rotate": (_RotatedOwn, lambda it: directory.rotate_own(it.id, it.consumer, it.overlap)),
            "consumer.list": (_Nothing, lambda _: consumers.list_all()),
            "consumer.show": (_Named, lambda it: consumers.show(it.name)),
            "consumer.set": (Consumer, consumers.set),
            "consumer.remove": (_Named, lambda it: consumers.remove(it.name)),
            "audit.note": (_Noted, lambda it: _note(book, it)),
            "audit.list": (Question, lambda it: Change(_list_audit(store, it))),
            "audit.verify": (_Nothing, lambda _: Change([msgspec.to_builtins(verdict) for verdict in book.verify()])),
            "trace": (_Traced, lambda it: Change(find_trace(store, it.id, consumers.config.trace.environment))),
            "slowest": (_Slowest, lambda it: Change(find_slowest(store, it.since, it.limit))),
            "usage": (_Month, lambda it: Change(_report(store, it))),
        }

    def run(self, name: str, arguments: dict[str, Any]) -> Change:
        """Do it. Raises DirectoryError with a sentence for the operator."""
        if name not in self._commands:
            raise DirectoryError(f"there is no command {name}")
        shape, act = self._commands[name]
        try:
            return act(msgspec.convert(arguments, shape))
        except ValueError as error:
            raise DirectoryError(f"{name}: {error}") from None
        except SQLAlchemyError as error:
            raise StoreBusy(f"the store does not take it: {error}") from error


def _note(book: Book, act: _Noted) -> Change:
    book.note(**msgspec.structs.asdict(act))
    return Change(None)


def _list_audit(store: Store, wanted: Question) -> list[Any]:
    with store.reading.connect() as connection:
        entries, _ = find_entries(connection, wanted)
    return [msgspec.to_builtins(entry) for entry in entries]


def _report(store: Store, wanted: _Month) -> Any:
    """With everything that is stored."""
    month = parse_month(wanted.month)
    fold_all(store)
    with store.reading.connect() as connection:
        return msgspec.to_builtins(read_month(connection, Scope(everything=True), month, wanted.consumer))

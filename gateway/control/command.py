"""The operator's commands by name, for a running gateway (over the link) and for the store alone (from the CLI)."""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from gateway.control.consumer import Change, Consumer, DirectoryError, StoreBusy
from gateway.control.directory import Directory, NewKey
from gateway.control.query.lookup import find_slowest, find_trace
from gateway.control.store import Store
from gateway.control.usage import month_usage


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


class _Traced(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class _Slowest(msgspec.Struct, forbid_unknown_fields=True):
    since: int  # unix microseconds
    limit: int


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Commands:
    """Runs commands on a store and its directory. `run` blocks."""

    def __init__(self, store: Store, directory: Directory) -> None:
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
            "trace": (_Traced, lambda it: Change(find_trace(store, it.id, consumers.config.trace.environment))),
            "slowest": (_Slowest, lambda it: Change(find_slowest(store, it.since, it.limit))),
            "usage": (_Month, lambda it: Change(month_usage(store, it.month))),
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

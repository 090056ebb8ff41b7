"""Consumers: those of the file, which only the file changes, and those of the store."""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from gateway.control.store import Store
from gateway.control.tables import consumers, directory_changes, keys
from gateway.networks import Networks
from gateway.settings import schema
from gateway.settings.credentials import parse_expiry
from gateway.settings.roles import find_tier
from gateway.settings.schema import Config

_REMEMBER = 7 * 86_400 * 1_000_000  # microseconds


class DirectoryError(Exception):
    """The change was not made; the text is for the operator."""


class Stranger(DirectoryError):
    """There is nothing of that name."""


class StoreBusy(DirectoryError):
    """The store did not take the change; it may later."""


class Change(msgspec.Struct, frozen=True):
    """What was done or found, as plain data, and the digests of keys for which caches now hold something else."""

    data: Any
    digests: tuple[bytes, ...] = ()


class Consumer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may hold keys. `models` and `routes` are patterns, `addresses` networks; empty: all.

    Without a `tier` it has its role's, which `Consumers.find` fills in.
    """

    name: str
    tier: str = ""
    project: str = ""
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    override_tier: str = ""  # in place of `tier` ...
    override_until: int = 0  # ... until then, in unix microseconds; 0: for ever
    role: str = ""
    methods: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class Consumers:
    """Where file and store both name a consumer, the file's is the one. `clock` is unix microseconds.

    `config` may be replaced by its owner when the file was read again.
    """

    def __init__(self, store: Store, config: Config, clock: Callable[[], int]) -> None:
        self._store = store
        self.config = config
        self._clock = clock

    def find(self, connection: Connection, name: str) -> Consumer | None:
        """The consumer of this name, within the caller's transaction."""
        if (known := self.config.consumers.get(name)) is not None:
            return _of_file(name, known)
        row = connection.execute(select(consumers).where(consumers.c.name == name)).one_or_none()
        return None if row is None else self._with_tier(_of_store(row))

    def add(self, connection: Connection, consumer: Consumer) -> None:
        """Put a new consumer into the store, within the caller's transaction. Raises DirectoryError."""
        self._check(consumer)
        values = {**msgspec.structs.asdict(consumer), "created": self._clock()}
        connection.execute(insert(consumers).values(values))

    def list_all(self) -> Change:
        """Every consumer, and where it is written."""
        with self._store.reading.connect() as connection:
            names = connection.scalars(select(consumers.c.name).order_by(consumers.c.name)).all()
            everybody = [*self.config.consumers, *(name for name in names if name not in self.config.consumers)]
            return Change([self._describe(connection, name) for name in everybody])

    def show(self, name: str) -> Change:
        """One consumer. Raises DirectoryError for a stranger."""
        with self._store.reading.connect() as connection:
            return Change(self._describe(connection, name))

    def set(self, consumer: Consumer) -> Change:
        """Make `consumer` what it says, whether it was there or not. Raises DirectoryError."""
        self._refuse_file(consumer.name)
        self._check(consumer)
        with self._store.changing.begin() as connection:
            values = msgspec.structs.asdict(consumer)
            if (
                connection.execute(update(consumers).where(consumers.c.name == consumer.name).values(values)).rowcount
                == 0
            ):
                self.add(connection, consumer)
            change = Change(self._describe(connection, consumer.name), _digests(connection, consumer.name))
            return publish(connection, change, self._clock())

    def remove(self, name: str) -> Change:
        """Delete a consumer of the store with all its keys. Raises DirectoryError."""
        self._refuse_file(name)
        with self._store.changing.begin() as connection:
            found = self._describe(connection, name)
            digests = _digests(connection, name)
            connection.execute(delete(keys).where(keys.c.consumer == name))
            connection.execute(delete(consumers).where(consumers.c.name == name))
            return publish(connection, Change(found, digests), self._clock())

    def _with_tier(self, consumer: Consumer) -> Consumer:
        tier = consumer.tier or find_tier(self.config.roles, consumer.role)
        return msgspec.structs.replace(consumer, tier=tier)

    def _describe(self, connection: Connection, name: str) -> dict[str, Any]:
        consumer = self.find(connection, name)
        if consumer is None:
            raise Stranger(f"there is no consumer {name}")
        source = "file" if name in self.config.consumers else "store"
        return {**msgspec.to_builtins(consumer), "source": source}

    def _refuse_file(self, name: str) -> None:
        if name in self.config.consumers:
            raise DirectoryError(f"consumer {name} stands in the configuration file; change it there and reload")

    def _check(self, consumer: Consumer) -> None:
        if not consumer.name or not consumer.name.isprintable():
            raise DirectoryError("a consumer needs a name of printable characters")
        if not consumer.project.isprintable():
            raise DirectoryError("the name of a project is of printable characters")
        if consumer.role and consumer.role not in self.config.roles:
            known = ", ".join(sorted(self.config.roles)) or "none"
            raise DirectoryError(f"there is no role {consumer.role!r}; roles are {known}")
        tier = self._with_tier(consumer).tier
        if tier not in self.config.tiers:
            known = ", ".join(sorted(self.config.tiers))
            raise DirectoryError(f"consumer {consumer.name} needs one of the tiers {known}, not {tier!r}")
        try:
            Networks(consumer.addresses)
        except ValueError as error:
            raise DirectoryError(str(error)) from None
        if consumer.override_tier and consumer.override_tier not in self.config.tiers:
            raise DirectoryError(f"there is no tier {consumer.override_tier!r} to override with")
        if consumer.override_until and not consumer.override_tier:
            raise DirectoryError("an override needs a tier beside its end")


def publish(connection: Connection, change: Change, now: int) -> Change:
    """Leave word of `change` for other replicas, where there may be some; to be called under the directory's lock.

    It is remembered for a week: so long control may be down somewhere, while workers live on.
    """
    if change.digests and connection.dialect.name == "postgresql":
        connection.execute(delete(directory_changes).where(directory_changes.c.created < now - _REMEMBER))
        connection.execute(insert(directory_changes).values(created=now, digests=b"".join(change.digests)))
    return change


def _of_file(name: str, known: schema.Consumer) -> Consumer:
    override = known.override or schema.Override()
    until = int(parse_expiry(override.until) * 1e6)
    return Consumer(
        name, known.tier, known.project, known.models, known.routes, override_tier=override.tier, override_until=until,
        role=known.role, methods=known.methods, addresses=known.addresses,
    )  # fmt: skip


def _of_store(row: Row[Any]) -> Consumer:
    return Consumer(
        row.name, row.tier, row.project, tuple(row.models), tuple(row.routes), override_tier=row.override_tier,
        override_until=row.override_until, role=row.role, methods=tuple(row.methods), addresses=tuple(row.addresses),
    )  # fmt: skip


def _digests(connection: Connection, name: str) -> tuple[bytes, ...]:
    return tuple(connection.scalars(select(keys.c.digest).where(keys.c.consumer == name)))

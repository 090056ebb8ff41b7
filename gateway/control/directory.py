"""The store's part of the directory: keys that are made while the gateway runs, or without it.

A key may belong to a consumer of the file: then tier, project and scopes are the file's. Keys themselves are never
stored, only their SHA-256. Every change says whose cached entries it makes stale.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from gateway.control.consumer import Change, Consumer, Consumers, DirectoryError
from gateway.control.store import Store
from gateway.control.tables import keys
from gateway.exchange import Credential
from gateway.settings.key import digest, is_importable, key_id, make_key
from gateway.settings.schema import Config

_SECOND = 1_000_000  # microseconds


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key that is wanted. `tier` and `project` make its consumer where there is none of this name yet.

    `expires` is unix seconds, 0 for never; `models` and `routes` narrow what the consumer may; `key` is one made
    elsewhere, to be known here too.
    """

    consumer: str
    tier: str = ""
    project: str = ""
    expires: float = 0.0
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    key: str = ""


class Directory:
    """Reads and changes the keys in `store`; `consumers` are its and the file's. `clock` is unix microseconds.

    Works beside a running gateway as well, which then has to be told of the `Change`.
    """

    def __init__(self, store: Store, config: Config, clock: Callable[[], int]) -> None:
        self.consumers = Consumers(store, config, clock)
        self._store = store
        self._clock = clock

    def look_up(self, hashed: bytes) -> Credential | None:
        """Who holds the key with this SHA-256; None for a key that is unknown, revoked or without a consumer."""
        with self._store.reading.connect() as connection:
            key = connection.execute(select(keys).where(keys.c.digest == hashed, keys.c.revoked == 0)).one_or_none()
            consumer = None if key is None else self.consumers.find(connection, key.consumer)
        if key is None or consumer is None:
            return None
        return Credential(
            id=key.id,
            consumer=consumer.name,
            tier=consumer.tier,
            project=consumer.project,
            expires=key.expires / _SECOND,
            models=consumer.models,
            routes=consumer.routes,
            key_models=tuple(key.models),
            key_routes=tuple(key.routes),
        )

    def new_key(self, wish: NewKey) -> Change:
        """Make or import a key. The data holds the key itself, for the only time. Raises DirectoryError."""
        if wish.key and not is_importable(wish.key):
            raise DirectoryError("a key has 8 to 512 visible ASCII characters; one of ours must not be mistyped")
        with self._store.writing.begin() as connection:
            known = self.consumers.find(connection, wish.consumer)
            if known is None:
                self.consumers.add(connection, Consumer(wish.consumer, wish.tier, wish.project))
            elif wish.tier not in ("", known.tier) or wish.project not in ("", known.project):
                raise DirectoryError(f"consumer {known.name} has tier {known.tier} and project {known.project or '-'}")
            return self._add(connection, wish)

    def list_keys(self, consumer: str = "") -> Change:
        """All keys of the store, or one consumer's; never the keys themselves."""
        query = select(keys).order_by(keys.c.consumer, keys.c.created)
        with self._store.reading.connect() as connection:
            rows = connection.execute(query.where(keys.c.consumer == consumer) if consumer else query)
            return Change([_describe(row) for row in rows])

    def revoke(self, id: str) -> Change:
        """End a key at once. Raises DirectoryError for one that is not in the store."""
        with self._store.writing.begin() as connection:
            key = self._find(connection, id)
            if not key.revoked:
                connection.execute(update(keys).where(keys.c.id == id).values(revoked=self._clock()))
            return Change({"id": id, "consumer": key.consumer}, (key.digest,))

    def rotate(self, id: str, overlap: float = 0.0) -> Change:
        """A new key with the same rights; the old one ends in `overlap` seconds, or sooner if it would anyway."""
        now = self._clock()
        with self._store.writing.begin() as connection:
            key = self._find(connection, id)
            if key.revoked or 0 < key.expires <= now:
                raise DirectoryError(f"key {id} has ended already; make a new one")
            end = now + int(overlap * _SECOND)
            connection.execute(update(keys).where(keys.c.id == id).values(expires=min(key.expires or end, end)))
            expires, models, routes = key.expires / _SECOND, tuple(key.models), tuple(key.routes)
            made = self._add(connection, NewKey(key.consumer, expires=expires, models=models, routes=routes))
            return Change(made.data, (*made.digests, key.digest))

    def _find(self, connection: Connection, id: str) -> Row[Any]:
        row = connection.execute(select(keys).where(keys.c.id == id)).one_or_none()
        if row is None:
            raise DirectoryError(f"there is no key {id} in the store; keys of the configuration file end there")
        return row

    def _add(self, connection: Connection, wish: NewKey) -> Change:
        key = wish.key or make_key()
        id, hashed = key_id(key), digest(key)
        if connection.execute(select(keys.c.id).where((keys.c.id == id) | (keys.c.digest == hashed))).first():
            raise DirectoryError(f"the key {id} is in the store already")
        connection.execute(
            insert(keys).values(
                id=id,
                digest=hashed,
                hint=key[-4:],
                consumer=wish.consumer,
                models=wish.models,
                routes=wish.routes,
                created=self._clock(),
                expires=int(wish.expires * _SECOND),
                revoked=0,
            )
        )
        return Change({"id": id, "consumer": wish.consumer, "key": key}, (hashed,))


def _describe(key: Row[Any]) -> dict[str, Any]:
    """A key for lists; moments are unix seconds, 0 for none."""
    moments = {name: getattr(key, name) / _SECOND for name in ("created", "expires", "revoked")}
    return {
        "id": key.id,
        "consumer": key.consumer,
        "ends_in": key.hint,
        "models": key.models,
        "routes": key.routes,
        **moments,
    }

"""The store's part of the directory: keys that are made while the gateway runs, or without it.

A key may belong to a consumer of the file: then tier, project and scopes are the file's. Keys themselves are never
stored, only their SHA-256. Every change says whose cached entries it makes stale.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from gateway.control.consumer import Change, Consumer, Consumers, DirectoryError, Stranger, publish
from gateway.control.store import Store
from gateway.control.tables import keys
from gateway.exchange import Credential
from gateway.settings.credentials import shown_id
from gateway.settings.key import digest, is_importable, key_id, make_key
from gateway.settings.roles import narrow_methods
from gateway.settings.schema import Config

_log = logging.getLogger("tollkeeper.control")

_SECOND = 1_000_000  # microseconds
LONGEST_OVERLAP = 7 * 86_400  # seconds, where the holder of a key rotates it


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key that is wanted. `tier`, `role` and `project` make its consumer where there is none of this name yet.

    `expires` is unix seconds, 0 for never; `models`, `routes` and `methods` narrow what the consumer may; `key` is one
    made elsewhere, to be known here too.
    """

    consumer: str
    tier: str = ""
    project: str = ""
    expires: float = 0.0
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    key: str = ""
    methods: tuple[str, ...] = ()
    role: str = ""


class Directory:
    """Reads and changes the keys in `store`; `consumers` are its and the file's. `clock` is unix microseconds.

    Works beside a running gateway as well, which then has to be told of the `Change`.
    """

    def __init__(self, store: Store, config: Config, clock: Callable[[], int]) -> None:
        self.consumers = Consumers(store, config, clock)
        self._store = store
        self._clock = clock

    def look_up(self, hashed: bytes) -> Credential | None:
        """Who holds the key with this SHA-256; None for a key that is unknown, revoked or without a consumer.

        So is one whose consumer has a tier that left the file: what limits nobody knows would be none.
        """
        with self._store.reading.connect() as connection:
            key = connection.execute(select(keys).where(keys.c.digest == hashed, keys.c.revoked == 0)).one_or_none()
            consumer = None if key is None else self.consumers.find(connection, key.consumer)
        if key is None or consumer is None:
            return None
        tiers = self.consumers.config.tiers
        if tiers and consumer.tier not in tiers:
            _log.error("consumer %s is refused: no tier %r in the configuration", consumer.name, consumer.tier)
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
            override_tier=consumer.override_tier,
            override_until=consumer.override_until / _SECOND,
            role=consumer.role,
            methods=narrow_methods(consumer.methods, tuple(key.methods)),
            addresses=consumer.addresses,
        )

    def new_key(self, wish: NewKey) -> Change:
        """Make or import a key. The data holds the key itself, for the only time. Raises DirectoryError."""
        if wish.key and not is_importable(wish.key):
            raise DirectoryError("a key has 8 to 512 visible ASCII characters; one of ours must not be mistyped")
        with self._store.changing.begin() as connection:
            known = self.consumers.find(connection, wish.consumer)
            if known is None:
                self.consumers.add(connection, Consumer(wish.consumer, wish.tier, wish.project, role=wish.role))
            elif any(asked not in ("", has) for asked, has in (
                (wish.tier, known.tier), (wish.project, known.project), (wish.role, known.role),
            )):  # fmt: skip
                has = f"tier {known.tier}, role {known.role or '-'} and project {known.project or '-'}"
                raise DirectoryError(f"consumer {known.name} has {has}")
            return publish(connection, self._add(connection, wish), self._clock())

    def list_keys(self, consumer: str = "") -> Change:
        """All keys of the store, or one consumer's; never the keys themselves."""
        query = select(keys).order_by(keys.c.consumer, keys.c.created)
        with self._store.reading.connect() as connection:
            rows = connection.execute(query.where(keys.c.consumer == consumer) if consumer else query)
            return Change([_describe(row) for row in rows])

    def revoke(self, id: str) -> Change:
        """End a key at once. Raises DirectoryError for one that is not in the store."""
        with self._store.changing.begin() as connection:
            key = self._find(connection, id)
            if not key.revoked:
                connection.execute(update(keys).where(keys.c.id == id).values(revoked=self._clock()))
            return publish(connection, Change({"id": id, "consumer": key.consumer}, (key.digest,)), self._clock())

    def rotate(self, id: str, overlap: float = 0.0) -> Change:
        """A new key with the same rights; the old one ends in `overlap` seconds, or sooner if it would anyway."""
        now = self._clock()
        with self._store.changing.begin() as connection:
            key = self._find(connection, id)
            if key.revoked or 0 < key.expires <= now:
                raise DirectoryError(f"key {id} has ended already; make a new one")
            if key.successor:
                raise DirectoryError(f"key {id} was rotated already, to {key.successor}; rotate that one")
            end = now + int(overlap * _SECOND)
            expires, scopes = key.expires / _SECOND, (tuple(key.models), tuple(key.routes), tuple(key.methods))
            wish = NewKey(key.consumer, "", "", expires, *scopes[:2], methods=scopes[2])
            made = self._add(connection, wish)
            values = {"expires": min(key.expires or end, end), "successor": made.data["id"]}
            connection.execute(update(keys).where(keys.c.id == id).values(values))
            return publish(connection, Change(made.data, (*made.digests, key.digest)), now)

    def rotate_own(self, id: str, consumer: str, overlap: float) -> Change:
        """As `rotate`, asked for by the holder of key `id`. Raises DirectoryError for keys that are not the store's."""
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise DirectoryError(f"the overlap is 0 to {LONGEST_OVERLAP} seconds")
        filed = self.consumers.config.consumers.get(consumer)
        with self._store.reading.connect() as connection:
            owner = self._find(connection, id).consumer
        if owner != consumer or (filed is not None and any(shown_id(key) == id for key in filed.keys)):
            raise DirectoryError(f"key {id} is none of the store's; the operator changes it")
        return self.rotate(id, overlap)

    def _find(self, connection: Connection, id: str) -> Row[Any]:
        row = connection.execute(select(keys).where(keys.c.id == id)).one_or_none()
        if row is None:
            raise Stranger(f"there is no key {id} in the store; keys of the configuration file end there")
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
                methods=wish.methods,
                created=self._clock(),
                expires=int(wish.expires * _SECOND),
                revoked=0,
            )
        )
        return Change({"id": id, "consumer": wish.consumer, "key": key}, (hashed,))


def _describe(key: Row[Any]) -> dict[str, Any]:
    """A key for lists; moments are unix seconds, 0 for none."""
    moments = {name: getattr(key, name) / _SECOND for name in ("created", "expires", "revoked", "last_used")}
    return {
        "id": key.id,
        "consumer": key.consumer,
        "ends_in": key.hint,
        "models": key.models,
        "routes": key.routes,
        "methods": key.methods,
        "successor": key.successor,
        **moments,
    }

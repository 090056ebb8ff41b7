"""The tables of the trace store. A change here needs a migration in `migrations/versions`, and its number below.

Times of day are unix microseconds, units milli-units, as in the journal.
"""

from typing import Any

import msgspec
from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, LargeBinary, MetaData, Table, Text

from gateway.journal import Closed, Opened

REVISION = "0001"  # the newest of migrations/versions

metadata = MetaData()

_TYPES: dict[Any, Any] = {str: Text, int: BigInteger, bool: Boolean}


def _columns(record: type[msgspec.Struct]) -> list[Column[Any]]:
    fields = msgspec.structs.fields(record)
    return [Column(field.name, _TYPES[field.type], nullable=False) for field in fields if field.type in _TYPES]


requests = Table(  # one row a request: the fields of the journal's two records in their order, and who wrote them
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(Opened)[1:],
    *_columns(Closed),
    Column("writer", Text, nullable=False),
)
Index("requests_started", requests.c.started)

open_requests = Table(  # opened and not yet closed
    "open_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("writer", Text, nullable=False),
    Column("record", Text, nullable=False),  # the journal's line
    Column("bytes_out", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

writers = Table(  # how far each journal is stored
    "writers",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),  # records that are missing from it
    Column("state", Text, nullable=False),  # writing; sealed: dead and wholly stored; settled: the ledger knows
    Column("changed", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

writer_usage = Table(  # what each writer's requests kept, until the ledger has settled
    "writer_usage",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("quota_key", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("units", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

consumers = Table(
    "consumers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("models", JSON, nullable=False),
    Column("routes", JSON, nullable=False),
    Column("created", BigInteger, nullable=False),
)

keys = Table(  # never the key itself
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),  # SHA-256
    Column("hint", Text, nullable=False),  # its last four characters
    Column("consumer", Text, nullable=False),
    Column("models", JSON, nullable=False),
    Column("routes", JSON, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),  # 0: never
    Column("revoked", BigInteger, nullable=False),  # 0: not
)
Index("keys_consumer", keys.c.consumer)

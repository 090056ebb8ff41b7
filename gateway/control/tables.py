"""The tables of the trace store. A change here needs a migration in `migrations/versions`, and its number below.

Times of day are unix microseconds, units milli-units, as in the journal.
"""

from typing import Any

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
)

from gateway.control.analytics.measures import COUNTS, DIMENSIONS, MEASURES
from gateway.journal import Closed, Opened

REVISION = "0010_feedback"  # the newest of migrations/versions

GOOD = ("complete", "answered", "answered_free")  # outcomes that are no error, the most frequent first

metadata = MetaData()

_TYPES: dict[Any, Any] = {str: Text, int: BigInteger, int | None: BigInteger, bool: Boolean}


def column_names(record: type[msgspec.Struct]) -> list[str]:
    """The fields of a journal record that a row holds; the others are worked up when it is stored."""
    return [field.name for field in msgspec.structs.fields(record) if field.type in _TYPES]


def _columns(record: type[msgspec.Struct]) -> list[Column[Any]]:
    fields = [field for field in msgspec.structs.fields(record) if field.type in _TYPES]
    return [Column(field.name, _TYPES[field.type], nullable=field.default is None) for field in fields]


requests = Table(  # one row a request: the fields of the journal's two records in their order, and who wrote them
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(Opened)[1:],
    *_columns(Closed),
    Column("writer", Text, nullable=False),
)
Index("requests_started", requests.c.started)
Index("requests_consumer", requests.c.consumer, requests.c.started)
for _name, _columns_of, _where in (  # a row that has none of it costs next to nothing
    ("requests_project", ("project", "started"), requests.c.project != ""),
    ("requests_session", ("session", "started"), requests.c.session != ""),
    ("requests_user", ("user", "started"), requests.c.user != ""),
    ("requests_trace", ("trace",), requests.c.parent != ""),
    ("requests_failed", ("started",), and_(*[requests.c.outcome != good for good in GOOD])),
):
    Index(_name, *[requests.c[_column] for _column in _columns_of], sqlite_where=_where, postgresql_where=_where)

contents = Table(  # what was asked and answered, where a route keeps it; the index of words is the migrations'
    "contents",
    metadata,
    Column("id", Text, primary_key=True),  # of the request
    Column("input", Text, nullable=False),
    Column("output", Text, nullable=False),
)

feedback = Table(  # what people or programs think of answers
    "feedback",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("consumer", Text, nullable=False),  # who says it
    Column("score", Float, nullable=False),  # 0 to 1
    Column("label", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    # of the request, for analytics; 0: it is not looked up yet
    Column("of_started", BigInteger, nullable=False, server_default="0"),
    *[Column(f"of_{name}", Text, nullable=False, server_default="") for name in DIMENSIONS],
)
Index("feedback_request", feedback.c.request)
Index("feedback_started", feedback.c.of_started)

rollups = Table(  # what requests add up to, by hour and by day, with consumers told apart and without
    "rollups",
    metadata,
    Column("grain", Text, primary_key=True),  # hour, day
    Column("is_private", Boolean, primary_key=True),  # whether consumer, tier and period are told; else they are empty
    Column("start", BigInteger, primary_key=True),
    *[Column(name, Text, primary_key=True) for name in DIMENSIONS],
    *[Column(name, Integer if name in COUNTS else BigInteger, nullable=False) for name in MEASURES],
    sqlite_with_rowid=False,
)

rollup_queue = Table(  # what was stored and is not in the roll-ups yet
    "rollup_queue",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("entries", LargeBinary, nullable=False),
)

rollup_due = Table(  # days whose requests are to be rolled up anew
    "rollup_due",
    metadata,
    Column("start", BigInteger, primary_key=True, autoincrement=False),
)

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
    Column("instance", Text, nullable=False, server_default=""),  # the replica whose writer it is
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
    Column("override_tier", Text, nullable=False, server_default=""),
    Column("override_until", BigInteger, nullable=False, server_default="0"),  # 0: for ever
    Column("role", Text, nullable=False, server_default=""),
    Column("methods", JSON, nullable=False, server_default="[]"),
    Column("addresses", JSON, nullable=False, server_default="[]"),
)

notices = Table(  # what webhooks were or will be told: each event once
    "notices",
    metadata,
    Column("key", Text, primary_key=True),
    Column("url", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),  # told, or given up; 0: not yet
    Column("instance", Text, nullable=False, server_default=""),  # the replica that tells it
    sqlite_with_rowid=False,
)

audit = Table(  # who did what to the gateway; see audit/entry.py for the chain
    "audit",
    metadata,
    Column("instance", Text, primary_key=True),  # the replica whose chain it is
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    *[Column(name, Text, nullable=False) for name in ("actor", "action", "subject", "address", "outcome", "details")],
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("audit_at", audit.c.at)

login_failures = Table(  # that are not in the audit log yet
    "login_failures",
    metadata,
    Column("address", Text, primary_key=True),
    Column("error", BigInteger, primary_key=True, autoincrement=False),
    Column("times", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

directory_changes = Table(  # for the other replicas: of which keys they hold what is no longer so
    "directory_changes",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),  # in the order of commits
    Column("created", BigInteger, nullable=False),
    Column("digests", LargeBinary, nullable=False),  # one after the other
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
    Column("methods", JSON, nullable=False, server_default="[]"),
    Column("last_used", BigInteger, nullable=False, server_default="0"),  # 0: never
    Column("successor", Text, nullable=False, server_default=""),  # the id of the key that it was rotated to
)
Index("keys_consumer", keys.c.consumer)

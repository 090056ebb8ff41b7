"""The first schema."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, LargeBinary, Text

revision = "0001"
down_revision = None

_REQUEST_TEXTS = (
    "method path peer request_id route consumer tier project credential model_asked model backend endpoint load "
    "quota_key period outcome cancel rule tokens_source writer"
)
_REQUEST_NUMBERS = (
    "started generation reserved prompt_estimate finished status error units tokens_in tokens_out tokens_cached "
    "upstream_status retries bytes_in bytes_out queue_us load_us connect_us first_token_us decode_us overhead_us "
    "total_us"
)


def texts(names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names.split()]


def numbers(names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names.split()]


def lists(names: str) -> list[Column[list[str]]]:
    return [Column(name, JSON, nullable=False) for name in names.split()]


def key(*names: str) -> list[Column[str]]:
    return [Column(name, Text, primary_key=True) for name in names]


def upgrade() -> None:
    stream = Column("stream", Boolean, nullable=False)
    op.create_table("requests", *key("id"), *texts(_REQUEST_TEXTS), *numbers(_REQUEST_NUMBERS), stream)
    op.create_index("requests_started", "requests", ["started"])
    op.create_table(
        "open_requests", *key("id"), *texts("writer record"), *numbers("bytes_out tokens_out"), sqlite_with_rowid=False
    )
    op.create_table(
        "writers", *key("writer"), *numbers("segment offset lost changed"), *texts("state"), sqlite_with_rowid=False
    )
    op.create_table("writer_usage", *key("writer", "quota_key", "period"), *numbers("units"), sqlite_with_rowid=False)
    op.create_table("consumers", *key("name"), *texts("tier project"), *lists("models routes"), *numbers("created"))
    op.create_table(
        "keys",
        *key("id"),
        Column("digest", LargeBinary, nullable=False, unique=True),
        *texts("hint consumer"),
        *lists("models routes"),
        *numbers("created expires revoked"),
    )
    op.create_index("keys_consumer", "keys", ["consumer"])

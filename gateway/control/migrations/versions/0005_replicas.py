"""Several replicas in one store: whose a writer and a notice is, and changes of keys for the others."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "0005_replicas"
down_revision = "0004_trace"


def upgrade() -> None:
    for table in ("writers", "notices"):
        op.add_column(table, Column("instance", Text, nullable=False, server_default=""))
    op.create_table(
        "directory_changes",
        Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("created", BigInteger, nullable=False),
        Column("digests", LargeBinary, nullable=False),
    )

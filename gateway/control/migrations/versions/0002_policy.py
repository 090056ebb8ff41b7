"""What requests cost, overrides of tiers, and events that were told."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "0002_policy"
down_revision = "0001"


def upgrade() -> None:
    for name in ("role", "price", "cache"):
        op.add_column("requests", Column(name, Text, nullable=False, server_default=""))
    op.add_column("requests", Column("cost_nano", BigInteger))
    op.add_column("consumers", Column("override_tier", Text, nullable=False, server_default=""))
    op.add_column("consumers", Column("override_until", BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "notices",
        Column("key", Text, primary_key=True),
        Column("url", Text, primary_key=True),
        Column("body", Text, nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("done", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )

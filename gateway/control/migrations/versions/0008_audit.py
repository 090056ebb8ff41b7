"""Who did what to the gateway, and failed logins that are to be told there."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "0008_audit"
down_revision = "0007_rollups"


def upgrade() -> None:
    texts = ("actor", "action", "subject", "address", "outcome", "details", "previous", "hash")
    op.create_table(
        "audit",
        Column("instance", Text, primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False),
        *[Column(name, Text, nullable=False) for name in texts],
        sqlite_with_rowid=False,
    )
    op.create_index("audit_at", "audit", ["at"])
    op.create_table(
        "login_failures",
        Column("address", Text, primary_key=True),
        Column("error", BigInteger, primary_key=True, autoincrement=False),
        *[Column(name, BigInteger, nullable=False) for name in ("times", "first", "last")],
        sqlite_with_rowid=False,
    )

"""Roles, methods and addresses of consumers; when a key was last used, and what it was rotated to."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, Text

revision = "0003_access"
down_revision = "0002_policy"


def upgrade() -> None:
    op.add_column("consumers", Column("role", Text, nullable=False, server_default=""))
    op.add_column("consumers", Column("methods", JSON, nullable=False, server_default="[]"))
    op.add_column("consumers", Column("addresses", JSON, nullable=False, server_default="[]"))
    op.add_column("keys", Column("methods", JSON, nullable=False, server_default="[]"))
    op.add_column("keys", Column("last_used", BigInteger, nullable=False, server_default="0"))
    op.add_column("keys", Column("successor", Text, nullable=False, server_default=""))

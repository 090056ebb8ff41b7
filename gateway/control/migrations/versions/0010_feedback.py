"""What feedback is about is kept beside it: looked up in requests it took a month's analysis 50 ms, or a second."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "0010_feedback"
down_revision = "0009_failed"

_DIMENSIONS = ("consumer", "project", "tier", "route", "operation", "model", "provider", "period")


def upgrade() -> None:
    """Filled in by the roll-ups' own thread, as what is said from now on."""
    op.add_column("feedback", Column("of_started", BigInteger, nullable=False, server_default="0"))
    for name in _DIMENSIONS:
        op.add_column("feedback", Column(f"of_{name}", Text, nullable=False, server_default=""))
    op.create_index("feedback_started", "feedback", ["of_started"])

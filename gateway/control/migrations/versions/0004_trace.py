"""What a trace tells beside the row: who calls within whose trace, what was said, what people think of it."""

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Text

revision = "0004_trace"
down_revision = "0003_access"


def upgrade() -> None:
    for name in ("operation", "provider", "session", "user", "tags", "trace", "span", "parent", "finish"):
        op.add_column("requests", Column(name, Text, nullable=False, server_default=""))
    op.create_table(
        "contents",
        Column("id", Text, primary_key=True),
        Column("input", Text, nullable=False),
        Column("output", Text, nullable=False),
    )
    op.create_table(
        "feedback",
        Column("id", Text, primary_key=True),
        *[Column(name, Text, nullable=False) for name in ("request", "consumer", "label", "comment")],
        Column("score", Float, nullable=False),
        Column("created", BigInteger, nullable=False),
    )
    op.create_index("feedback_request", "feedback", ["request"])

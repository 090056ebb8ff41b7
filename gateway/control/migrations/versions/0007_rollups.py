"""What requests add up to, by hour and by day. Days that are stored already are rolled up in the background."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Text

revision = "0007_rollups"
down_revision = "0006_search"

_DIMENSIONS = "consumer project tier route operation model provider period"
_COUNTS = """
requests streams hits retries unpriced estimated timed outcome_complete outcome_refused outcome_turned_away
outcome_answered outcome_answered_free outcome_left_waiting outcome_not_reached outcome_upstream_rejected
outcome_upstream_failed outcome_engine_died outcome_broken outcome_left outcome_worker_lost outcome_failed
errors_10 errors_11 errors_12 errors_13 errors_14 errors_15 errors_16 errors_17 errors_18 errors_19
finish_stop finish_length finish_tool_calls finish_content_filter finish_other
"""
_SUMS = """
units cost_nano tokens_in tokens_out tokens_cached bytes_in bytes_out timed_tokens queue_us load_us connect_us
first_token_us decode_us overhead_us total_us
"""


def upgrade() -> None:
    steps = [f"{kind}{column:02}" for kind in "df" for column in range(40)]
    op.create_table(
        "rollups",
        Column("grain", Text, primary_key=True),
        Column("is_private", Boolean, primary_key=True),
        Column("start", BigInteger, primary_key=True),
        *[Column(name, Text, primary_key=True) for name in _DIMENSIONS.split()],
        *[Column(name, Integer, nullable=False) for name in _COUNTS.split()],
        *[Column(name, BigInteger, nullable=False) for name in (*_SUMS.split(), *steps)],
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_queue",
        Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("entries", LargeBinary, nullable=False),
    )
    op.create_table("rollup_due", Column("start", BigInteger, primary_key=True, autoincrement=False))
    op.execute("INSERT INTO rollup_due SELECT DISTINCT started - started % 86400000000 FROM requests")

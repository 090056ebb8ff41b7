"""What a roll-up tells requests apart by, and what it counts of them: the columns of the table `rollups`.

The lists are stored: a name more is a migration.
"""

from gateway.control.analytics.histogram import WIDTH
from gateway.exchange import Outcome

DIMENSIONS = ("consumer", "project", "tier", "route", "operation", "model", "provider", "period")
PRIVATE = ("consumer", "tier", "period")  # of them, what the roll-ups of all consumers together leave out

OUTCOMES = tuple(outcome.value for outcome in Outcome)
CLASSES = tuple(range(10, 20))  # hundreds of the error catalogue
FINISHES = ("stop", "length", "tool_calls", "content_filter")  # and what is none of them: finish_other

COUNTS = (
    "requests", "streams", "hits", "retries", "unpriced", "estimated", "timed",
    *(f"outcome_{outcome}" for outcome in OUTCOMES),
    *(f"errors_{hundred}" for hundred in CLASSES),
    *(f"finish_{finish}" for finish in FINISHES), "finish_other",
)  # fmt: skip
"""How many requests. `hits` came from a cache, `unpriced` have tokens and no price, `estimated` have tokens that were
not counted, `timed` are complete: only these are in the durations. `retries` may be several of one request."""

SUMS = (
    "units", "cost_nano", "tokens_in", "tokens_out", "tokens_cached", "bytes_in", "bytes_out", "timed_tokens",
    "queue_us", "load_us", "connect_us", "first_token_us", "decode_us", "overhead_us", "total_us",
)  # fmt: skip
"""Sums of what rows hold. Durations and `timed_tokens`, which are tokens out, are sums over `timed` requests."""

DURATIONS = tuple(f"d{column:02}" for column in range(WIDTH))  # of `timed` requests
FIRST_TOKENS = tuple(f"f{column:02}" for column in range(WIDTH))  # of those among them that sent a body
MEASURES = (*COUNTS, *SUMS, *DURATIONS, *FIRST_TOKENS)

HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR
GRAINS = {"hour": HOUR, "day": DAY}

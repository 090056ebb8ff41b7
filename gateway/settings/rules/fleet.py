"""Several replicas of one gateway: what they must share."""

from collections.abc import Iterator

from gateway.settings.problem import Problem
from gateway.settings.schema import Config
from gateway.settings.state import is_url


def check_fleet(config: Config) -> Iterator[Problem]:
    """Replicas that count each for itself let through as many times more as there are of them."""
    count = config.state.replicas
    if count < 2:
        return
    if not config.state.redis:
        message = f"{count} replicas would each count for itself: limits would let {count} times as much through; "
        yield Problem("state.replicas", message + "name the Redis that they share in `state.redis`")
    if not is_url(config.state.database):
        message = "keys and consumers that commands make, and traces, are known to the replica they were made at; "
        yield Problem("state.replicas", message + "name a PostgreSQL for all in `state.database`", "warning")

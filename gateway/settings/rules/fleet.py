"""Several replicas of one gateway: what they must share."""

from collections.abc import Iterator

from gateway.settings.problem import Problem
from gateway.settings.schema import Config


def check_fleet(config: Config) -> Iterator[Problem]:
    """Replicas that count each for itself let through as many times more as there are of them."""
    count = config.state.replicas
    if count < 2:
        return
    if not config.state.redis:
        message = f"{count} replicas would each count for itself: limits would let {count} times as much through; "
        yield Problem("state.replicas", message + "name the Redis that they share in `state.redis`")
    message = "keys and consumers that commands make are known to the replica they were made at; write them in the file"
    yield Problem("state.replicas", message, "warning")

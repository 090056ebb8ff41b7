"""The Redis that replicas share."""

from collections.abc import Iterator

from gateway.redis.location import parse_location
from gateway.settings.problem import Problem
from gateway.settings.schema import Config


def check_redis(config: Config) -> Iterator[Problem]:
    """`state.redis` is a URL that can be used. Whether anybody answers there is not asked."""
    if not config.state.redis:
        return
    try:
        parse_location(config.state.redis)
    except ValueError as error:
        yield Problem("state.redis", str(error))

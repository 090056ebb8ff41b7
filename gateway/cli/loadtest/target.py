"""What is tested and how much of it: everything is bounded, and a stranger's server is not fired at by accident."""

import ipaddress
from urllib.parse import urlsplit

import msgspec

SECONDS, REQUESTS, CONNECTIONS = 60, 10_000, 256  # more must be asked for
MOST_SECONDS, MOST_REQUESTS, MOST_CONNECTIONS = 600, 200_000, 2048  # more there is not


class Target(msgspec.Struct, frozen=True):
    """A gateway, how to call it, and the bounds of each check: `seconds`, and `connections` at once."""

    url: str  # without a path's end
    key: str
    model: str
    seconds: float = 10.0
    connections: int = 16
    path: str = "/v1/chat/completions"


def is_loopback(url: str) -> bool:
    """Whether `url` leads to this machine, as its text alone says."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

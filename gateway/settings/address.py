"""Addresses to listen on: `host:port`, `[v6]:port`, `unix:/path`."""

import ipaddress
import re

import msgspec

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]+)):(\d{1,5})")

_WILDCARDS = frozenset(("0.0.0.0", "::"))


class Address(msgspec.Struct, frozen=True):
    """Where a listener stands: either `path` of a unix socket, or `host` and `port` (0: any free one)."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def overlaps(self, other: "Address") -> bool:
        """Whether both cannot be bound at once: the same place, or a wildcard that holds it."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port or self.port == 0:
            return False
        same_family = (":" in self.host) == (":" in other.host)
        return self.host == other.host or (same_family and not {self.host, other.host}.isdisjoint(_WILDCARDS))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Raises ValueError with a sentence."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError(f"{text!r} needs an absolute path: unix:/run/tollkeeper.sock")
        return Address(path=path)
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"{text!r} is not an address; write host:port, [::1]:port or unix:/path")
    return Address(host=match[1] or match[2], port=int(match[3]))

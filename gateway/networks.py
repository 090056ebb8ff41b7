"""Addresses and networks of IP (RFC 4291, 4632), told apart quickly: verdicts are remembered."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

UNIX = "unix"  # stands among networks for every client of a unix socket, whose address is empty
_REMEMBERED = 8192  # verdicts

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """A set of networks: `10.0.0.0/8`, `2001:db8::/32`, one address, or `unix`. Raises ValueError with a sentence.

    An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address.
    """

    __slots__ = ("_networks", "_takes_unix", "hold")

    def __init__(self, texts: Iterable[str]) -> None:
        written = tuple(texts)
        self._takes_unix = UNIX in written
        self._networks = [_read_network(text) for text in written if text != UNIX]
        self.hold = lru_cache(_REMEMBERED)(self._decide)  # (address: str) -> bool; what is no address is in no network

    def __bool__(self) -> bool:
        return self._takes_unix or bool(self._networks)

    def _decide(self, address: str) -> bool:
        if not address:
            return self._takes_unix
        found = read_address(address)
        return found is not None and any(
            found.version == network.version and found in network for network in self._networks
        )


def read_address(text: str) -> _Address | None:
    """An address without its zone; None where `text` is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return found if mapped is None else mapped


def group_address(text: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 one, as one customer holds at least that."""
    found = read_address(text)
    if found is None or found.version == 4:
        return text if found is None else str(found)
    return str(ipaddress.ip_network((int(found), 64), strict=False))


def _read_network(text: str) -> _Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"`{text}` is not a network such as 10.0.0.0/8 or 2001:db8::/32, or one address") from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network((int(mapped), network.prefixlen - 96))
    return network

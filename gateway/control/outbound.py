"""Connections to addresses that a configuration names (a JWKS, a webhook), kept away from what lies within.

The check is made on the address of each socket, after names are resolved and just before it is opened, so there is no
second look-up that could answer otherwise (DNS rebinding), and no spelling of an address that it does not see.
"""

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import aiohttp

# Where clouds tell an instance its own credentials; nothing that is fetched or told belongs there.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
)
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits
_DEEPEST = 3  # addresses inside addresses

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_allowed(address: str, allow_private: bool = False) -> bool:
    """Whether a connection to `address`, an IP address as text, may be made.

    Public unicast addresses may, loopback and private ones (RFC 1918, 4193, 6598) where the operator says so. Never
    link-local, multicast, unspecified and reserved ones, and those where clouds hand out credentials. An IPv4 address
    inside an IPv6 one (mapped, 6to4, NAT64) is judged by itself.
    """
    try:
        found: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    for _ in range(_DEEPEST):
        inner = _inner(found)
        if inner is None:
            break
        found = inner
    if found in _METADATA or found.is_multicast or found.is_unspecified or found.is_link_local:
        return False
    if any(found in network for network in _PRIVATE):
        return allow_private
    return found.is_global and not found.is_reserved


def _inner(address: _Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def check_url(url: str, allow_private: bool = False) -> None:
    """Raises OSError with a sentence unless `url` is https, or http where `allow_private`, and names a host."""
    try:
        parts = urlsplit(url)
        is_named = bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError as error:
        raise OSError(f"{url} is not an address: {error}") from None
    if parts.scheme not in ("https", "http") or not is_named:
        raise OSError(f"{url} is not an address of the form https://host/path")
    if parts.scheme == "http" and not allow_private:
        raise OSError(f"{url} is not https; plain http is for `allow_private`")


def guard_sockets(allow_private: bool = False) -> Callable[[Any], socket.socket]:
    """Makes the sockets of a connector (aiohttp's `socket_factory`), and none to an address that is not allowed."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, where = info
        if not is_allowed(str(where[0]), allow_private):
            raise PermissionError(errno.EACCES, f"{where[0]} must not be connected to")
        return socket.socket(family, kind, protocol)

    return make


def open_session(patience: float, allow_private: bool = False) -> "aiohttp.ClientSession":
    """A session of aiohttp for outbound requests that take at most `patience` seconds each.

    Callers pass `allow_redirects=False`, and check the URL first (`check_url`).
    """
    import aiohttp  # here, because most gateways open no such connection, and it costs 15 MB

    connector = aiohttp.TCPConnector(socket_factory=guard_sockets(allow_private), use_dns_cache=False)
    timeout = aiohttp.ClientTimeout(total=patience)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)

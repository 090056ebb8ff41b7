"""Where a Redis is: the URL of `state.redis`, taken apart. Its text form never holds the password."""

import os
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

_FORMS = "redis://host:6379/0, rediss://host:6379, unix:///path or redis+sentinel://host:26379/name"
_PORT, _SENTINEL_PORT = 6379, 26379

Address = tuple[str, int]  # of a unix socket: (path, 0)


class Location(msgspec.Struct, frozen=True):
    """One server, one cluster (any of its nodes), or with `master` the sentinels that know it."""

    addresses: tuple[Address, ...]
    user: str = ""
    password: str = ""
    database: int = 0
    tls: bool = False
    authority: str = ""  # a file of CA certificates; empty: the system's
    master: str = ""

    def __str__(self) -> str:
        return ", ".join([path if port == 0 else f"{path}:{port}" for path, port in self.addresses])

    __repr__ = __str__


def parse_location(url: str) -> Location:
    """Raises ValueError with a sentence that does not repeat the URL, as that may hold a password."""
    scheme, separator, _ = url.partition("://")
    readers = {"redis": _read_server, "rediss": _read_server, "unix": _read_socket, "redis+sentinel": _read_sentinels}
    if not separator or scheme not in readers:
        raise ValueError(f"the URL must be one of {_FORMS}")
    try:
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    except ValueError:
        raise ValueError(f"the URL cannot be read; write one of {_FORMS}") from None
    identity, _, hosts = parts.netloc.rpartition("@")
    user, _, password = identity.partition(":")
    location = readers[scheme](scheme, hosts, unquote(parts.path), options)
    if options:
        raise ValueError(f"the URL has an unknown option {min(options)!r}")
    return msgspec.structs.replace(location, user=unquote(user), password=unquote(password))


def _read_server(scheme: str, hosts: str, path: str, options: dict[str, str]) -> Location:
    authority = options.pop("ca", "") if scheme == "rediss" else ""
    if authority and not os.access(authority, os.R_OK):
        raise ValueError(f"the file {authority} of `ca` cannot be read")
    return Location(
        (_parse_host(hosts, _PORT),), database=_parse_database(path[1:]), tls=scheme == "rediss", authority=authority
    )


def _read_socket(_: str, hosts: str, path: str, options: dict[str, str]) -> Location:
    if hosts or not path:
        raise ValueError("a unix URL needs an absolute path: unix:///path/of/the.sock")
    return Location(((path, 0),), database=_parse_database(options.pop("db", "")))


def _read_sentinels(_: str, hosts: str, path: str, options: Mapping[str, str]) -> Location:
    name, _, database = path[1:].partition("/")
    if not name:
        raise ValueError("a sentinel URL needs the master's name: redis+sentinel://host:26379/name")
    addresses = tuple([_parse_host(host, _SENTINEL_PORT) for host in hosts.split(",")])
    return Location(addresses, database=_parse_database(database), master=name)


def _parse_host(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname or "", parts.port or port
    except ValueError:
        raise ValueError("the URL's port is not a number from 1 to 65535") from None
    if not host:
        raise ValueError("the URL names no host")
    return host, port


def _parse_database(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError("the URL's database is not a number, such as the 0 in redis://host:6379/0")
    return int(text or 0)

"""Where an upstream listens, and how its name becomes addresses."""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.http.faults import ConnectFailed, ConnectTimeout

Address = tuple[str, int]


class Origin:
    """One upstream endpoint: a host and port, or a unix socket; over TLS if `tls` is given.

    Made once per endpoint and compared by identity: it is the key of its connections in the pool. `prefix` is the path
    of the URL without a trailing slash, for the caller to put before what it asks for.
    """

    __slots__ = ("host", "host_header", "path", "port", "prefix", "server_name", "tls")

    def __init__(self, host: str, port: int, *, path: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.path = path
        self.tls = tls
        self.server_name = host if tls is not None else None
        self.prefix = ""
        name = f"[{host}]" if ":" in host else host
        self.host_header = (name if port in (0, 443 if tls is not None else 80) else f"{name}:{port}").encode("ascii")

    @classmethod
    def parse(cls, url: str, tls: ssl.SSLContext | None = None) -> "Origin":
        """From `http://host:port/prefix`, `https://…` or `unix:/path/of/socket`. ValueError on anything else.

        `tls` is the context for https; without it the system's authorities are trusted.
        """
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
            return cls("localhost", 0, path=parts.path)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError(f"not an upstream address: {url}")
        if parts.scheme == "http":
            origin = cls(parts.hostname, parts.port or 80)
        else:
            origin = cls(parts.hostname, parts.port or 443, tls=tls or ssl.create_default_context())
        origin.prefix = parts.path.rstrip("/")
        return origin

    def __repr__(self) -> str:
        return f"Origin({self.path or self.host_header.decode()})"


_AGAIN = 5.0  # seconds until a name is looked up again that could not be, while its old addresses serve


class Resolver:
    """Names to addresses, remembered for `ttl` seconds and, while lookups fail, for as long as it takes.

    Lookups have their own few threads and one flight per name, so that a name server that hangs holds up nobody who
    asks for another name that is known.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float = 2.0, ttl: float = 30.0) -> None:
        self._loop = loop
        self._timeout = timeout
        self._ttl = ttl
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="dns")
        self._known: dict[Address, tuple[float, list[Address]]] = {}
        self._flights: dict[Address, asyncio.Future[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Numeric addresses in the system's order. Raises ConnectFailed (dns) or ConnectTimeout."""
        if _is_numeric(host):
            return [(host, port)]
        key = (host, port)
        until, addresses = self._known.get(key, (0.0, []))
        if until > self._loop.time():
            return addresses
        try:
            async with asyncio.timeout(self._timeout):
                found = await asyncio.shield(self._look_up(key))
        except (OSError, TimeoutError) as error:
            if addresses:
                self._known[key] = (self._loop.time() + _AGAIN, addresses)  # or each request would wait for DNS
                return addresses
            if isinstance(error, TimeoutError):
                raise ConnectTimeout(f"no answer from DNS for {host}", kind="dns_timeout", sent=False) from None
            raise ConnectFailed(f"{host}: {error}", kind="dns", sent=False) from None
        self._known[key] = (self._loop.time() + self._ttl, found)
        return found

    def _look_up(self, key: Address) -> "asyncio.Future[list[Address]]":
        flight = self._flights.get(key)
        if flight is None:
            flight = self._loop.run_in_executor(self._threads, _ask, *key)
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    def _land(self, key: Address, flight: "asyncio.Future[list[Address]]") -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, even if every asker has timed out

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _is_numeric(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _ask(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(address[0]), port) for *_, address in found]

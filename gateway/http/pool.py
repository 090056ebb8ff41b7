"""Upstream connections: opened on demand, kept while idle, newest first, bounded per origin and in total."""

import asyncio
import ssl

from gateway.http.client import ClientLimits, UpstreamConnection
from gateway.http.deadline import Sweeper
from gateway.http.faults import ConnectFailed, ConnectTimeout
from gateway.http.origin import Address, Origin, Resolver
from gateway.http.tls import TLS_FAREWELL

__all__ = ["ClientLimits", "Origin", "Pool", "UpstreamConnection"]


class Pool:
    """`take` an idle connection or `connect` a new one; `give` it back when its answer is complete, else close it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sweeper: Sweeper, limits: ClientLimits | None = None) -> None:
        self._loop = loop
        self._sweeper = sweeper
        self._limits = limits or ClientLimits()
        self._resolver = Resolver(loop, self._limits.dns_timeout, self._limits.dns_ttl)
        self._idle: dict[Origin, list[UpstreamConnection]] = {}
        self._open: set[UpstreamConnection] = set()
        self.idle = 0

    @property
    def open(self) -> int:
        """Connections in use or idle."""
        return len(self._open)

    def take(self, origin: Origin) -> UpstreamConnection | None:
        """The idle connection used last, if there is one."""
        connections = self._idle.get(origin)
        while connections:
            self.idle -= 1
            connection = connections.pop()
            if connection.is_reusable:
                return connection
        return None

    def give(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next exchange; one that cannot have one is closed."""
        connections = self._idle.get(connection.origin)
        if connections is None:
            connections = self._idle[connection.origin] = []
        limits = self._limits
        if connection.is_reusable and len(connections) < limits.idle_per_origin and self.idle < limits.idle_total:
            connection.rest()
            connections.append(connection)
            self.idle += 1
        else:
            connection.close()

    async def connect(self, origin: Origin, timeout: float) -> UpstreamConnection:  # noqa: ASYNC109  # maps the error
        """A fresh connection within `timeout` seconds, name lookup and TLS included.

        Addresses are tried in turn, each with an equal share of the time that is left. Raises ConnectFailed or
        ConnectTimeout, both with `sent` False.
        """
        try:
            async with asyncio.timeout(timeout):
                if origin.path is not None:
                    return await self._open_unix(origin)
                addresses = await self._resolver.resolve(origin.host, origin.port)
                return await self._open_any(origin, addresses, self._loop.time() + timeout)
        except TimeoutError:
            raise ConnectTimeout(f"{origin}: no connection in {timeout} s", sent=False) from None
        except ssl.SSLError as error:
            raise ConnectFailed(f"{origin}: {error}", kind="tls", sent=False) from None
        except ConnectionRefusedError as error:
            raise ConnectFailed(f"{origin}: {error}", kind="refused", sent=False) from None
        except OSError as error:
            raise ConnectFailed(f"{origin}: {error}", sent=False) from None

    async def _open_any(self, origin: Origin, addresses: list[Address], deadline: float) -> UpstreamConnection:
        for place, (host, port) in enumerate(addresses):
            is_last = place == len(addresses) - 1
            share = (deadline - self._loop.time()) / (len(addresses) - place)
            try:
                async with asyncio.timeout(None if is_last else share):
                    return await self._open_tcp(origin, host, port)
            except (OSError, TimeoutError):
                if is_last:
                    raise
        raise ConnectFailed(f"{origin}: no address", kind="dns", sent=False)

    async def _open_tcp(self, origin: Origin, host: str, port: int) -> UpstreamConnection:
        farewell = None if origin.tls is None else TLS_FAREWELL
        _, connection = await self._loop.create_connection(
            lambda: self._make(origin), host, port, ssl=origin.tls, server_hostname=origin.server_name,
            ssl_shutdown_timeout=farewell,
        )  # fmt: skip
        return self._admit(connection)

    async def _open_unix(self, origin: Origin) -> UpstreamConnection:
        _, connection = await self._loop.create_unix_connection(lambda: self._make(origin), origin.path)
        return self._admit(connection)

    def _make(self, origin: Origin) -> UpstreamConnection:
        return UpstreamConnection(self._loop, origin, self._limits, self._forget)

    def _admit(self, connection: UpstreamConnection) -> UpstreamConnection:
        if not connection.is_reusable:
            raise ConnectFailed(f"{connection.origin}: closed at once", kind="refused", sent=False)
        self._open.add(connection)
        self._sweeper.add(connection)
        return connection

    def _forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        self._sweeper.discard(connection)
        connections = self._idle.get(connection.origin, [])
        if connection in connections:
            connections.remove(connection)
            self.idle -= 1
        if not connections:
            self._idle.pop(connection.origin, None)

    def close(self) -> None:
        """Break all connections, idle or not."""
        for connection in list(self._open):
            connection.abort()
        self._resolver.close()

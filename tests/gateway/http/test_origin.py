import asyncio
import socket
import ssl
import threading

import pytest

from gateway.http import origin as module
from gateway.http.faults import ConnectFailed, ConnectTimeout
from gateway.http.origin import Origin, Resolver


@pytest.mark.parametrize(
    ("url", "host", "port", "header", "prefix"),
    [
        ("http://a.example", "a.example", 80, b"a.example", ""),
        ("http://a.example:80/", "a.example", 80, b"a.example", ""),
        ("http://127.0.0.1:8000/v1/", "127.0.0.1", 8000, b"127.0.0.1:8000", "/v1"),
        ("http://[::1]:8000", "::1", 8000, b"[::1]:8000", ""),
        ("https://a.example/openai", "a.example", 443, b"a.example", "/openai"),
        ("https://a.example:8443", "a.example", 8443, b"a.example:8443", ""),
    ],
)
def test_urls(url: str, host: str, port: int, header: bytes, prefix: str) -> None:
    origin = Origin.parse(url)
    assert (origin.host, origin.port, origin.host_header, origin.prefix) == (host, port, header, prefix)
    assert (origin.tls is not None) == url.startswith("https")
    assert origin.server_name == (host if origin.tls is not None else None)


def test_a_unix_socket() -> None:
    origin = Origin.parse("unix:/run/engine.sock")
    assert (origin.path, origin.host_header) == ("/run/engine.sock", b"localhost")


def test_the_callers_tls_is_used() -> None:
    context = ssl.create_default_context()
    assert Origin.parse("https://a.example", context).tls is context


@pytest.mark.parametrize(
    "url", ["", "a.example", "ftp://a", "http://", "http://u:p@a", "http://a?x", "unix:x", "http://a:99999"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Origin.parse(url)


def test_origins_are_compared_by_identity() -> None:
    one, other = Origin("a", 1), Origin("a", 1)
    assert one != other
    assert len({one, other}) == 2


class Names:
    """A name service in the place of getaddrinfo: counts, fails and hangs on demand."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.gate = threading.Event()
        self.gate.set()

    def ask(self, host: str, port: int) -> list[tuple[str, int]]:
        self.asked += 1
        self.gate.wait(2)
        if self.fails:
            raise socket.gaierror("no such name")
        return [(f"10.0.0.{self.asked}", port)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(module, "_ask", names.ask)
    return names


async def test_a_name_is_asked_for_once_while_it_is_fresh(names: Names) -> None:
    resolver = Resolver(asyncio.get_running_loop())
    found = await asyncio.gather(*[resolver.resolve("a", 1) for _ in range(100)])
    assert found == [[("10.0.0.1", 1)]] * 100
    assert await resolver.resolve("a", 1) == [("10.0.0.1", 1)]
    assert names.asked == 1
    resolver.close()


async def test_f16_old_addresses_serve_while_lookups_fail(names: Names) -> None:
    resolver = Resolver(asyncio.get_running_loop(), ttl=0)
    assert await resolver.resolve("a", 1) == [("10.0.0.1", 1)]
    assert await resolver.resolve("a", 1) == [("10.0.0.2", 1)]
    names.fails = True
    assert await resolver.resolve("a", 1) == [("10.0.0.2", 1)]
    assert await resolver.resolve("a", 1) == [("10.0.0.2", 1)]
    assert names.asked == 3, "nobody waits for DNS again for some seconds"
    resolver.close()


async def test_f16_a_name_that_does_not_exist(names: Names) -> None:
    names.fails = True
    resolver = Resolver(asyncio.get_running_loop())
    with pytest.raises(ConnectFailed) as failure:
        await resolver.resolve("a", 1)
    assert (failure.value.kind, failure.value.sent) == ("dns", False)
    resolver.close()


async def test_f16_a_name_server_that_hangs(names: Names) -> None:
    resolver = Resolver(asyncio.get_running_loop(), timeout=0.1)
    await resolver.resolve("known", 1)
    names.gate.clear()
    lookups = [asyncio.ensure_future(resolver.resolve("a", 1)) for _ in range(100)]
    await asyncio.sleep(0.01)
    assert await resolver.resolve("known", 1)
    results = await asyncio.gather(*lookups, return_exceptions=True)
    assert all(isinstance(result, ConnectTimeout) and result.kind == "dns_timeout" for result in results)
    assert names.asked == 2
    names.gate.set()
    resolver.close()

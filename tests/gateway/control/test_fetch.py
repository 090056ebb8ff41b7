import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.control import fetch as module
from gateway.control.fetch import LARGEST, Fetches, fetch

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(handler: Handler) -> AsyncIterator[str]:
    server = web.Server(handler)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    finally:
        await runner.cleanup()


async def test_a_document_is_fetched() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * LARGEST)

    async with serve(answer) as url:
        assert await fetch(url, allow_private=True) == b"x" * LARGEST


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (lambda: web.Response(status=404), "answered 404"),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302"),
        (lambda: web.Response(body=b"x" * (LARGEST + 1)), "more than"),
        (lambda: web.Response(body=b"not zipped at all", headers={"Content-Encoding": "gzip"}), "cannot be fetched"),
    ],
)
async def test_anything_else_is_an_error(response: Callable[[], web.Response], reason: str) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return response()

    async with serve(answer) as url:
        with pytest.raises(OSError, match=reason):
            await fetch(url, allow_private=True)


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    async with serve(answer) as url:
        with pytest.raises(OSError, match="did not answer"):
            await fetch(url, allow_private=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://", "nonsense", "http://[::1"])
async def test_what_cannot_be_reached_is_an_error(url: str) -> None:
    with pytest.raises(OSError):
        await fetch(url, allow_private=True)


async def test_those_who_ask_at_once_share_one_fetch() -> None:
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        await asyncio.sleep(0.1)
        return web.Response(body=b"{}") if len(asked) == 1 else web.Response(status=500)

    fetches = Fetches()
    async with serve(answer) as url:
        assert await asyncio.gather(*[fetches.get(url, True) for _ in range(50)]) == [b"{}"] * 50
        failed = await asyncio.gather(*[fetches.get(url, True) for _ in range(50)], return_exceptions=True)
        assert {str(error) for error in failed if isinstance(error, OSError)} == {f"{url} answered 500"}
    assert len(asked) == 2


async def test_one_who_gives_up_does_not_take_the_answer_from_others() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        begun.set()
        await go.wait()
        return web.Response(body=b"{}")

    fetches = Fetches()
    async with serve(answer) as url:
        first, second = (asyncio.ensure_future(fetches.get(url, True)) for _ in range(2))
        await begun.wait()
        first.cancel()
        go.set()
        assert await second == b"{}"


async def test_s35_nothing_within_is_connected_to_unless_the_operator_says_so() -> None:
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(body=b"{}")

    async with serve(answer) as url:
        port = url.rpartition(":")[2].partition("/")[0]
        for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0.0.0.0",
                     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "[64:ff9b::7f00:1]"):  # fmt: skip
            with pytest.raises(OSError, match=r"must not be connected|not a canonical"):
                await fetch(f"https://{host}:{port}/keys")
        for host in ("0.0.0.0", "169.254.169.254"):
            with pytest.raises(OSError, match="must not be connected"):
                await fetch(f"http://{host}:{port}/keys", allow_private=True)
        assert asked == []
        assert await fetch(f"http://127.0.0.1:{port}/keys", allow_private=True) == b"{}"


async def test_s35_a_name_that_turns_to_an_address_within_is_seen_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: whatever the look-up answers, the address of the socket is what is judged."""
    answers = iter(["93.184.216.34", "127.0.0.1"])

    async def resolve(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        address = next(answers, "127.0.0.1")
        return [{"hostname": host, "host": address, "port": port, "family": 2, "proto": 0, "flags": 4}]

    connected = []

    class Refusing(socket.socket):
        def connect(self, address: object) -> None:
            connected.append(address)
            raise ConnectionRefusedError

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    monkeypatch.setattr("gateway.control.outbound.socket.socket", Refusing)
    for _ in range(3):
        with pytest.raises(OSError):
            await fetch("https://rebinding.example:1/keys")
    assert [where for where in connected if where[0] != "93.184.216.34"] == []  # type: ignore[index]


async def test_s35_a_redirect_is_not_followed() -> None:
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serve(answer) as url:
        with pytest.raises(OSError, match="answered 307"):
            await fetch(url, allow_private=True)
    assert asked == ["/keys"]


@pytest.mark.parametrize("scheme", ["file", "gopher", "unix", "ftp", "http+unix", "ws", "", "data"])
async def test_s36_other_schemes_are_refused(scheme: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(OSError, match="not an address"):
            await fetch(f"{scheme}://127.0.0.1/etc/passwd", allow_private)
    with pytest.raises(OSError, match="not https"):
        await fetch("http://example.com/keys")

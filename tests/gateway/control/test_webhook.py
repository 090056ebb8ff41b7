"""Notices against a real receiver, one that is not always there."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.control import webhook as module
from gateway.control.store import Store
from gateway.control.webhook import Webhooks, sign
from gateway.link import Notice
from gateway.settings.schema import Webhook

SECRET = "a-secret-of-webhooks"
NOW = 1_795_262_400
NOTICE = Notice("quota.threshold", "{consumer:acme}:month:2026-11:80", {"consumer": "acme", "threshold": 80})
Received = list[tuple[str, bytes]]


@asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[tuple[str, Received]]:
    """Answers with these statuses, then with 204; what was posted, with its signature."""
    received: Received = []
    left = list(statuses)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        received.append((request.headers["X-Tollkeeper-Signature"], await request.read()))
        return web.Response(status=left.pop(0) if left else 204, headers={"Location": "/elsewhere"})

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", received
    finally:
        await runner.cleanup()


async def call(act: Callable[[], None]) -> None:
    await asyncio.to_thread(act)


def make(store: Store, *wanted: Webhook) -> Webhooks:
    return Webhooks(store, lambda: wanted, lambda: NOW * 1_000_000)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not check():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.01, 0.02, 0.03))


async def test_it_is_told_once_and_signed(store: Store) -> None:
    async with receiver() as (url, received):
        hooks = make(store, Webhook(url=url, secret=SECRET, private=True))
        letters = hooks.note(NOTICE)
        assert hooks.note(NOTICE) == [], "what several workers notice is told once"
        hooks.send(letters, call)
        await until(lambda: hooks.left_over() == [])
        ((signature, body),) = received
        told = json.loads(body)
        assert told == {
            "id": told["id"], "event": "quota.threshold", "created": "2026-11-21T12:00:00Z", "data": NOTICE.details,
        }  # fmt: skip
        mac = hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
        assert signature == f"t={NOW},v1={mac}" == sign(SECRET, body, NOW)


@pytest.mark.parametrize("statuses", [(500,), (503, 404, 302)])
async def test_a_receiver_that_fails_is_asked_again(store: Store, statuses: tuple[int, ...]) -> None:
    async with receiver(*statuses) as (url, received):
        hooks = make(store, Webhook(url=url, secret=SECRET, private=True))
        hooks.send(hooks.note(NOTICE), call)
        await until(lambda: len(received) == len(statuses) + 1)
        await until(lambda: hooks.left_over() == [])
        assert len({body for _, body in received}) == 1


async def test_tries_are_bounded(store: Store) -> None:
    async with receiver(*[500] * 50) as (url, received):
        hooks = make(store, Webhook(url=url, secret=SECRET, private=True))
        hooks.send(hooks.note(NOTICE), call)
        await until(lambda: hooks.left_over() == [])
        assert len(received) == 4


async def test_a_successor_tells_what_was_left(store: Store) -> None:
    """The process died between storing and telling."""
    async with receiver() as (url, received):
        wanted = Webhook(url=url, secret=SECRET, private=True)
        make(store, wanted).note(NOTICE)
        successor = make(store, wanted)
        successor.send(successor.left_over(), call)
        await until(lambda: len(received) == 1)


async def test_only_those_who_want_an_event_hear_of_it(store: Store) -> None:
    hooks = make(store, Webhook(url="http://127.0.0.1:1/", secret=SECRET, events=("other",), private=True))
    assert hooks.note(NOTICE) == []


async def test_a_webhook_that_left_the_configuration_is_not_told(store: Store) -> None:
    async with receiver() as (url, received):
        letters = make(store, Webhook(url=url, secret=SECRET, private=True)).note(NOTICE)
        hooks = make(store)
        hooks.send(letters, call)
        await until(lambda: hooks.left_over() == [])
        assert received == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/x", "https://127.0.0.1:{port}/x", "https://2130706433:{port}/x",
            "https://[::ffff:127.0.0.1]:{port}/x", "https://0.0.0.0:{port}/x", "https://localhost:{port}/x"]
)  # fmt: skip
async def test_s35_what_lies_within_is_not_told(store: Store, url: str) -> None:
    async with receiver() as (real, received):
        address = url.format(port=real.split(":")[2].partition("/")[0])
        hooks = make(store, Webhook(url=address, secret=SECRET))
        with pytest.raises(OSError):
            await hooks._post(Webhook(url=address, secret=SECRET), "{}")
        assert received == []


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "file:///etc/passwd", "gopher://127.0.0.1/", "unix:/x"]
)
async def test_s36_some_places_are_never_told(store: Store, url: str) -> None:
    hooks = make(store)
    with pytest.raises(OSError):
        await hooks._post(Webhook(url=url, secret=SECRET, private=True), "{}")

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Credential
from gateway.link import Failed, Found, LinkClosed, LookUp
from gateway.relay.directory import Directory, read_consumers
from gateway.settings.load import load_text

ACME = Credential("id", "acme", "free")
KEY, OTHER = b"1" * 32, b"2" * 32


class Control:
    """The other end of the link: questions wait until the test answers them."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.open: list[asyncio.Future[Any]] = []

    def call(self, message: LookUp) -> asyncio.Future[Any]:
        self.asked.append(message.digest)
        self.open.append(asyncio.get_running_loop().create_future())
        return self.open[-1]

    def answer(self, credential: Credential | None) -> None:
        self.open.pop(0).set_result(Found(credential))


async def ask(directory: Directory, digest: bytes) -> Credential | None:
    found = directory.look_up(digest)
    return await found if isinstance(found, Awaitable) else found


async def start(directory: Directory, digest: bytes) -> "asyncio.Task[Credential | None]":
    task = asyncio.get_running_loop().create_task(ask(directory, digest))
    await asyncio.sleep(0)
    return task


async def test_keys_of_the_file_are_known_without_asking() -> None:
    control = Control()
    directory = Directory([(KEY, ACME)], control.call)
    assert directory.look_up(KEY) is ACME
    directory.forget([])
    assert directory.look_up(KEY) is ACME, "a generation's own keys live as long as it"
    assert control.asked == []


@pytest.mark.parametrize("credential", [ACME, None])
async def test_an_answer_is_remembered_until_it_changes(credential: Credential | None) -> None:
    control = Control()
    directory = Directory([], control.call)
    task = await start(directory, KEY)
    control.answer(credential)
    assert await task == credential
    assert directory.look_up(KEY) == credential
    directory.forget([OTHER])
    assert directory.look_up(KEY) == credential and len(control.asked) == 1
    for forgotten in ([KEY], []):
        directory.forget(forgotten)
        task = await start(directory, KEY)
        control.answer(credential)
        assert await task == credential
    assert control.asked == [KEY] * 3


async def test_several_askers_share_one_question() -> None:
    control = Control()
    directory = Directory([], control.call)
    tasks = [await start(directory, KEY) for _ in range(5)]
    tasks[0].cancel()
    await asyncio.sleep(0)
    control.answer(ACME)
    assert await asyncio.gather(*tasks[1:]) == [ACME] * 4
    assert control.asked == [KEY]


async def test_an_answer_that_is_older_than_a_change_is_not_remembered() -> None:
    """A revocation may overtake the answer to a question that was asked before it."""
    control = Control()
    directory = Directory([], control.call)
    before = await start(directory, KEY)
    directory.forget([KEY])
    after = await start(directory, KEY)
    assert control.asked == [KEY, KEY], "who asks after the change asks anew"
    control.answer(ACME)
    assert await before == ACME
    control.answer(None)
    assert await after is None
    assert directory.look_up(KEY) is None


@pytest.mark.parametrize("failure", [LinkClosed("gone"), Failed("no control", 1602, 1.0)])
async def test_a_directory_that_cannot_be_asked_is_503(failure: Any) -> None:
    control = Control()
    directory = Directory([], control.call)
    task = await start(directory, KEY)
    flight = control.open.pop()
    if isinstance(failure, Exception):
        flight.set_exception(failure)
    else:
        flight.set_result(failure)
    with pytest.raises(GatewayError) as caught:
        await task
    assert (caught.value.number, caught.value.headers["Retry-After"]) == (1602, "1")
    task = await start(directory, KEY)
    control.answer(ACME)
    assert await task == ACME, "a failure is not remembered"


async def test_memory_is_bounded_and_guesses_push_no_real_key_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.directory._KNOWN", 3)
    monkeypatch.setattr("gateway.relay.directory._UNKNOWN", 5)
    control = Control()
    directory = Directory([], control.call)

    async def learn(digest: bytes, credential: Credential | None) -> None:
        task = await start(directory, digest)
        control.answer(credential)
        await task

    for name in b"abc":
        await learn(bytes([name]) * 32, ACME)
    for guess in range(50):
        await learn(bytes([guess]) * 32, None)
    assert len(directory._unknown) == 5
    assert directory.look_up(b"a" * 32) is ACME
    await learn(b"d" * 32, ACME)  # the one used longest ago goes: b
    assert directory.look_up(b"a" * 32) is ACME
    task = await start(directory, b"b" * 32)
    control.answer(None)
    assert await task is None


CONSUMERS = """
consumers:
  acme:
    tier: free
    project: rockets
    models: [a*]
    routes: [/v1/*]
    keys:
      - {sha256: "%s", id: main, expires: 2027-01-01, models: [ab], routes: [/v1/chat]}
      - {sha256: "%s", expires: "2027-01-01T12:00:00+02:00"}
""" % ("11" * 32, "22" * 32)  # noqa: UP031  # braces


def test_consumers_of_the_file() -> None:
    first, second = read_consumers(load_text(CONSUMERS, {}).consumers)
    assert first == (
        b"\x11" * 32,
        Credential("main", "acme", "free", "rockets", 1_798_761_600.0, ("a*",), ("/v1/*",), ("ab",), ("/v1/chat",)),
    )
    assert (second[1].id, second[1].expires) == ("222222222222", 1_798_797_600.0)

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.settings.key import digest, make_key
from plugins.key_auth import Plugin, Settings

NOW = 1_000_000.0
ACME = Credential("k1", "acme", "free")
HOLDERS = {
    "good-key-1": ACME,
    "old-key-01": Credential("k2", "acme", "free", expires=NOW),
    "last-key-1": Credential("k3", "acme", "free", expires=NOW + 0.001),
    "eyJhbGciOi": Credential("k4", "acme", "free"),
    "k\u00e9y-\u00fcber": Credential("k5", "acme", "free"),
}


class Services:
    """A directory that answers at once or later, and a clock that stands still."""

    def __init__(self, later: bool = False) -> None:
        self.later = later
        self.asked: list[bytes] = []
        self.directory = self.clock = self

    def wall(self) -> float:
        return NOW

    def look_up(self, asked: bytes) -> Credential | Awaitable[Credential | None] | None:
        self.asked.append(asked)
        found = next((holder for key, holder in HOLDERS.items() if digest(key) == asked), None)

        async def answer() -> Credential | None:
            await asyncio.sleep(0)
            return found

        return answer() if self.later else found


def identify(*headers: tuple[str, str], later: bool = False, settings: Settings | None = None) -> Credential | None:
    """Whom the plugin takes the caller for."""
    fields = [(name.encode(), value.encode()) for name, value in headers]
    head = read_head(b"GET", b"/x", "1.1", [(b"host", b"a"), *fields])
    exchange = Exchange("id", head, "GET", "/x", 0.0)
    plugin = Plugin(settings or Settings())
    services: Any = Services(later)

    async def run() -> None:
        await plugin.start(services)
        answer: Any = plugin.access(exchange)
        if isinstance(answer, Awaitable):
            await answer

    asyncio.run(run())
    return exchange.credential


BEARER = ("authorization", "Bearer good-key-1")


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    "headers",
    [
        [BEARER],
        [("authorization", "bearer good-key-1")],  # schemes have no case (RFC 9110, 11.1)
        [("authorization", "BEARER   good-key-1 ")],
        [("x-api-key", "good-key-1")],
        [("api-key", "good-key-1")],
        [BEARER, ("x-api-key", "good-key-1"), ("api-key", "good-key-1")],  # the same thrice is one
        [("authorization", "Basic dXNlcg=="), ("x-api-key", "good-key-1")],
        [("authorization", "Basic dXNlcg=="), BEARER],
    ],
)
def test_a_key_in_any_of_its_places(headers: list[tuple[str, str]], later: bool) -> None:
    assert identify(*headers, later=later) == ACME


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Basic dXNlcg==")],
        [("authorization", "good-key-1")],
        [("authorization", "Bearer eyJhbGciOi.eyJzdWIi.c2ln")],  # a JWT is another plugin's
        [("x-key", "good-key-1")],
        [("cookie", "api-key=good-key-1")],
    ],
)
def test_without_a_key_of_its_kind_it_abstains(headers: list[tuple[str, str]]) -> None:
    assert identify(*headers) is None


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("headers", "number"),
    [
        ([("authorization", "Bearer no-such-key")], 1002),
        ([("authorization", "Bearer GOOD-KEY-1")], 1002),
        ([("authorization", "Bearer good-key-1 x")], 1002),
        ([("x-api-key", "Bearer good-key-1")], 1002),
        ([("authorization", "Bearer old-key-01")], 1003),
        ([BEARER, ("x-api-key", "other-key-1")], 1004),
        ([("x-api-key", "good-key-1"), ("api-key", "last-key-1")], 1004),
        ([("x-api-key", "good-key-1"), ("x-api-key", "last-key-1")], 1004),
        ([BEARER, ("authorization", "Bearer last-key-1")], 1004),
        ([BEARER, ("x-api-key", "")], 1004),
        ([("authorization", "Bearer")], 1005),
        ([("authorization", "Bearer ")], 1005),
        ([("x-api-key", "")], 1005),
        ([("x-api-key", "x" * 8193)], 1005),
    ],
)
def test_s03_s07_a_bad_key_is_refused(headers: list[tuple[str, str]], number: int, later: bool) -> None:
    with pytest.raises(GatewayError) as caught:
        identify(*headers, later=later)
    assert caught.value.number == number
    if caught.value.status == 401:
        assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    for _, value in headers:
        secret = value.removeprefix("Bearer").strip()
        assert not secret or secret not in caught.value.message


def test_a_key_lives_until_its_last_moment() -> None:
    found = identify(("x-api-key", "last-key-1"))
    assert found is not None and found.id == "k3"


def test_a_key_that_only_looks_like_a_jwt_is_a_key() -> None:
    found = identify(("authorization", "Bearer eyJhbGciOi"))
    assert found is not None and found.id == "k4"


def test_a_key_of_any_bytes_is_known_by_its_digest() -> None:
    found = identify(("x-api-key", "k\u00e9y-\u00fcber"))
    assert found is not None and found.id == "k5"


def test_other_schemes_may_carry_keys_where_the_file_says_so() -> None:
    found = identify(("authorization", "Token good-key-1"), settings=Settings(schemes=("token",)))
    assert found == ACME
    assert identify(BEARER, settings=Settings(schemes=("token",))) is None


def test_a_key_made_here_is_nobody_until_the_directory_knows_it() -> None:
    with pytest.raises(GatewayError) as caught:
        identify(("x-api-key", make_key()))
    assert caught.value.number == 1002

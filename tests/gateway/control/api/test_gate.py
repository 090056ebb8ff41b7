"""Who comes in at the admin address."""

import hashlib

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gateway.control.api.gate import Gate
from gateway.errors import GatewayError
from gateway.settings.schema import Admin

KEY = "the-operators-key"


class Clock:
    now = 1000.0


def gate(clock: Clock | None = None) -> Gate:
    admin = Admin(sha256=hashlib.sha256(KEY.encode()).hexdigest(), hosts=("gateway.internal",))
    return Gate(lambda: admin, lambda: (clock or Clock()).now)


def number(of: Gate, *pairs: tuple[str, str], key: str = KEY) -> int:
    """What the gate says to a request with these headers; 0 where it lets it in."""
    headers = CIMultiDict({"Host": "127.0.0.1:8001", "Authorization": f"Bearer {key}"})
    for name, value in pairs:
        if value:
            headers[name] = value
        else:
            del headers[name]
    try:
        caller = of(make_mocked_request("GET", "/admin/status", headers), "r")
    except GatewayError as error:
        return error.number
    assert caller.is_admin and caller.may("anything") and caller.request_id == "r"
    return 0


def test_the_key_opens() -> None:
    assert number(gate()) == 0


@pytest.mark.parametrize(
    ("authorization", "said"),
    [("", 1001), ("Bearer", 1001), ("Bearer ", 1001), ("Bearer x", 1002), (f"Basic {KEY}", 1002), (f"bearer {KEY}", 0)],
)
def test_other_credentials_do_not(authorization: str, said: int) -> None:
    assert number(gate(), ("Authorization", authorization)) == said


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", 0), ("[::1]:8001", 0), ("localhost:8001", 0), ("LOCALHOST", 0), ("10.1.2.3:8001", 0),
        ("gateway.internal", 0), ("", 1202), ("evil.example", 1202), ("127.0.0.1.evil.example", 1202),
        ("localhost.evil.example:8001", 1202), ("[evil]", 1202), ("a b", 1202), ("127.0.0.1:8001:1", 1202),
    ],
)  # fmt: skip
def test_a_name_that_was_made_to_mean_this_address(host: str, said: int) -> None:
    assert number(gate(), ("Host", host)) == said


@pytest.mark.parametrize(
    ("origin", "said"),
    [("http://127.0.0.1:8001", 0), ("https://127.0.0.1:8001", 0), ("http://evil.example", 1103), ("null", 1103),
     ("http://127.0.0.1:3000", 1103)],
)  # fmt: skip
def test_a_page_of_another_origin(origin: str, said: int) -> None:
    assert number(gate(), ("Origin", origin)) == said


def test_who_guesses_is_refused_for_a_while_with_the_right_key_too() -> None:
    clock = Clock()
    one = gate(clock)
    assert [number(one, key=f"guess-{at}") for at in range(12)] == [1002] * 10 + [1508] * 2
    assert number(one) == 1508
    clock.now += 59.9
    assert number(one) == 1508
    clock.now += 0.2
    assert number(one) == 0
    assert number(one, key="guess") == 1002


def test_a_missing_key_is_no_guess() -> None:
    one = gate()
    assert {number(one, ("Authorization", "")) for _ in range(20)} == {1001}
    assert number(one) == 0

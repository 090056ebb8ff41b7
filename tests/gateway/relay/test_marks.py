import json
from typing import Any

import pytest

from gateway.exchange import Exchange
from gateway.http.head import RequestHead
from gateway.relay.dialect.kind import CHAT, MESSAGES, Dialect
from gateway.relay.marks import find_user, read_session, tags
from gateway.wire import parse_object


@pytest.mark.parametrize(
    ("value", "session"),
    [
        (b"abc-123", "abc-123"),
        (b"a/b:c=d.e~", "a/b:c=d.e~"),
        (b"x" * 128, "x" * 128),
        (b"x" * 129, ""),
        (b"", ""),
        (b"two words", ""),
        ("größe".encode(), ""),
        (b"a\x1b[31m", ""),
    ],
)
def test_sessions(value: bytes, session: str) -> None:
    assert read_session(value) == session


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"b, a", "a,b"),
        (b"a,a , a", "a"),
        (b"team:search, env/prod, v=1.2", "env/prod,team:search,v=1.2"),
        (b"ok, two words, <b>, -x, " + b"y" * 65, "ok"),
        (b"", ""),
        (b",,,", ""),
        (b",".join(b"t%02d" % number for number in range(40)), ",".join(f"t{number:02}" for number in range(16))),
    ],
)
def test_tags(value: bytes, kept: str) -> None:
    assert tags[value] == kept


@pytest.mark.parametrize(
    ("body", "dialect", "user"),
    [
        ({"user": "u-1"}, CHAT, "u-1"),
        ({"user": "Jürgen Groß"}, CHAT, "Jürgen Groß"),
        ({"user": "x" * 257}, CHAT, ""),
        ({"user": "a\nb"}, CHAT, ""),
        ({"user": 7}, CHAT, ""),
        ({"user": {"id": 7}}, CHAT, ""),
        ({}, CHAT, ""),
        ({"metadata": {"user_id": "u-2"}}, MESSAGES, "u-2"),
        ({"metadata": {"user_id": "u-2"}}, CHAT, ""),
        ({"metadata": {"user_id": None}}, MESSAGES, ""),
        ({"metadata": None}, MESSAGES, ""),
        ({"metadata": {}}, MESSAGES, ""),
    ],
)
def test_users(body: dict[str, Any], dialect: Dialect, user: str) -> None:
    made = Exchange("i", RequestHead("POST", b"/", "1.1", []), "POST", "/", 0.0)
    assert find_user(made) == ""
    made.dialect = dialect
    made.fields = parse_object(json.dumps({"model": "m", **body}).encode(), 10)
    assert find_user(made) == user

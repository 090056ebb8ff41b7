"""`tollkeeper explain` tells the truth of limits, roles, projects, addresses, shapes and caches as well."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from plugins.hmac_auth.client import authorize
from tests.e2e.rehearsed import Case, compare, explain, perform
from tests.e2e.wire import CHAT
from tests.harness import Document, Gateway, config, eventually, running_gateway

TURNS = [{"role": "user", "content": "hi"}]
ADDED = frozenset(("etag", "vary", "x-cache-status", "age"))  # by caches, to a model server's answer
ELSEWHERE, BANNED = "127.0.0.2", "127.0.0.9"
SECRET = "a-shared-secret-of-more-than-32-bytes"
JWT = {"keys": [{"kid": "a", "secret": "${JWT_SECRET}"}], "issuer": "https://id.example", "audience": "tollkeeper",
       "algorithms": ["HS256"], "default_tier": "open"}  # fmt: skip
SIGNER = {"id": "partner", "secret": "${JWT_SECRET}", "consumer": "partner", "tier": "open"}
HMAC = {"window": "15m", "credentials": [SIGNER]}  # what is signed now is sent minutes later
HOLDERS: dict[str, dict[str, Any]] = {
    "plain": {"tier": "open"},
    "viewer": {"tier": "open", "role": "viewer"},
    "builder": {"role": "developer", "project": "search"},
    "distant": {"tier": "open", "addresses": ["10.0.0.0/8"]},
    "reader": {"tier": "open", "methods": ["GET", "HEAD"]},
    "talker": {"tier": "tokens"},
    "novelist": {"tier": "monthly_tokens"},
    "spender": {"tier": "budget"},
    "single": {"tier": "single"},
    "raised": {"tier": "nothing", "override": {"tier": "open"}},
    "shadowed": {"tier": "shadowed"},
    "twice": {"tier": "twice"},
}


def _key(name: str) -> str:
    return f"key-of-{name}-0001" if name else ""


def _document() -> Document:
    return config(
        demo=False,
        limits={"failed_logins": "3/min"},
        tiers={
            "open": {"rate": "unlimited"},
            "tokens": {"tokens": "600/h", "reserve": 20},
            "monthly_tokens": {"monthly_tokens": 900, "reserve": 20},
            "budget": {"budget": "0.0009 USD/month", "reserve": 20},
            "single": {"concurrency": 1},
            "nothing": {"rate": "1/h", "burst": 1},
            "shadowed": {"monthly": 1, "shadow": True},
            "twice": {"rate": "100/min", "limits": [{"rate": "1/h", "burst": 1, "by": "ip", "name": "door"}]},
        },
        roles={
            "viewer": {"may": ["traces:read"]},
            "developer": {"tier": {"rate": "100/min"}, "may": ["infer", "traces:*"], "inherits": ["viewer"]},
        },
        consumers={
            name: {**holder, "keys": [{"key": f"${{KEY_{name.upper()}}}"}]} for name, holder in HOLDERS.items()
        },
        models={
            "echo": {"backend": "echo", "price": {"input": 1, "output": 1}},
            "secret": {"backend": "echo", "projects": ["search"]},
        },
        plugins=["key_auth", {"jwt": JWT}, {"hmac_auth": HMAC}, "acl", {"size_limit": {"body": "20KB", "query": 100}},
                 {"validate": {"unknown": "refuse", "allow": ["echo"]}}, {"http_cache": {"ttl": "60s"}}, "quota"],
        routes=[
            {"path": CHAT},
            {"path": "/echo", "to": "echo"},
            {"path": "/reports", "to": "echo", "permission": "usage:read", "strip": "/reports"},
            {"path": "/ours", "to": "echo", "projects": ["search"]},
            {"path": "/guarded", "to": "echo", "plugins": [{"ip_restriction": {"deny": [BANNED]}}, "key_auth"]},
            {"path": "/counted", "to": "echo", "strip": "/counted", "limits": [{"rate": "1/h", "burst": 1}]},
            {"path": "/v1/completions", "plugins": ["key_auth", "response_cache", "quota"]},
        ],
    )  # fmt: skip


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    environment = {"JWT_SECRET": SECRET} | {f"KEY_{name.upper()}": _key(name) for name in HOLDERS}
    with running_gateway(_document(), environment=environment) as gateway:
        for name in ("talker", "novelist", "spender"):
            assert perform(gateway, _chat(0, name, echo={"chunks": 890})).status == 200
        for path in ("/counted", "/echo"):
            perform(gateway, Case(0, "GET", path, _key("plain" if path == "/counted" else "twice")))
        perform(gateway, _chat(0, "shadowed"))
        yield gateway


def _chat(number: int, key: str, model: Any = "echo", path: str = CHAT, **fields: Any) -> Case:
    body = {"model": model, "messages": TURNS, **fields}
    content = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
    return Case(number, "POST", path, _key(key), content)


def _token(number: int, at: int, kid: str = "a", secret: str = SECRET, **claims: Any) -> Case:
    """A request with a token, from address `at`: those that fail are counted by address."""
    now = time.time_ns() // 10**9
    terms = {"sub": "jane", "iss": "https://id.example", "aud": "tollkeeper", "iat": now, "exp": now + 600, **claims}
    token = jwt.encode(terms, secret, "HS256", {"kid": kid})
    return Case(number, "GET", "/echo", token, peer=f"127.0.1.{at}")


def _signed(number: int, at: int, secret: str = SECRET, sent: bytes = b"text") -> Case:
    value = authorize("partner", secret, "POST", "/echo", body=b"text")
    return Case(number, "POST", "/echo", "", sent, {"Authorization": value}, f"127.0.2.{at}")


CASES = {
    "signature": _signed(0, 1),
    "forged signature": _signed(1010, 2, "x" * 40),
    "signature of another body": _signed(1010, 3, sent=b"other"),
    "token": _token(0, 1),
    "expired token": _token(1007, 2, iat=1_000_000_000, exp=1_000_000_600),
    "token of tomorrow": _token(1008, 3, nbf=5_000_000_000),
    "token of an unknown key": _token(1009, 4, kid="b"),
    "token for somebody else": _token(1013, 5, aud="other"),
    "forged token": _token(1006, 6, secret="x" * 40),
    "token and key": _token(1004, 7)._replace(headers={"x-api-key": _key("plain")}),
    "good": _chat(0, "plain"),
    "role with a tier": _chat(0, "builder"),
    "role without the permission": _chat(1104, "viewer"),
    "route with another permission": Case(1104, "GET", "/reports", _key("builder")),
    "project's model": _chat(0, "builder", "secret"),
    "other project's model": _chat(1105, "plain", "secret"),
    "other project's route": Case(1105, "GET", "/ours", _key("plain")),
    "address of the consumer": Case(1106, "GET", "/echo", _key("distant")),
    "address of the route": Case(1106, "GET", "/guarded", _key("plain"), peer=BANNED),
    "address that may": Case(0, "GET", "/guarded", _key("plain"), peer=ELSEWHERE),
    "method of the key": _chat(1107, "reader"),
    "method that may": Case(0, "GET", "/echo", _key("reader")),
    "size of the body": _chat(1208, "plain", user="x" * 20_000),
    "size of the query": Case(1219, "GET", "/echo?" + "x" * 101, _key("plain")),
    "temperature": _chat(1214, "plain", temperature=5),
    "no messages": _chat(1213, "plain", messages=None),
    "unknown field": _chat(1220, "plain", tempereture=1),
    "tokens a minute": _chat(1505, "talker", max_tokens=10),
    "tokens a month": _chat(1506, "novelist", max_tokens=10),
    "more tokens than ever": _chat(1503, "novelist", max_tokens=10_000),
    "money a month": _chat(1507, "spender", max_tokens=10),
    "override": _chat(0, "raised"),
    "shadow": _chat(0, "shadowed"),
    "second limit": Case(1501, "GET", "/echo", _key("twice")),
    "route's limit": Case(1501, "GET", "/counted", _key("plain")),
    "not modified": Case(0, "GET", "/v1/models", _key("plain"), headers={"If-None-Match": "*"}),
    "modified": Case(1402, "GET", "/v1/models", _key("plain"), headers={"If-Match": '"other"'}),
    "etag": Case(0, "GET", "/v1/models", _key("plain")),
    "cached answers only": _chat(1810, "plain", path="/v1/completions", prompt="x", messages=None)._replace(
        headers={"Cache-Control": "only-if-cached"}
    ),
    "answer that is not cached": _chat(0, "plain", path="/v1/completions", prompt="never asked", messages=None),
    "me": Case(0, "GET", "/api/v1/me", _key("plain")),
    "me, unknown": Case(1001, "GET", "/api/v1/me"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_explained_is_what_happens(gateway: Gateway, name: str) -> None:
    compare(gateway, CASES[name], ADDED)


def test_a_slot_that_is_taken(gateway: Gateway) -> None:
    slow = threading.Thread(target=perform, args=(gateway, _chat(0, "single", echo={"delay": 1.0})))
    slow.start()
    eventually(lambda: gateway.metrics().get('tollkeeper_inflight{backend="echo"}') == 1)
    compare(gateway, _chat(1504, "single"))
    slow.join()
    compare(gateway, _chat(0, "single"), ADDED)


def test_failed_logins(gateway: Gateway) -> None:
    guess = Case(1002, "GET", "/echo", "not-a-key-of-anybody", peer=ELSEWHERE)
    good = Case(0, "GET", "/echo", _key("plain"), peer=ELSEWHERE)
    for _ in range(6):
        assert explain(gateway, guess)["error"] == 1002, "what is only explained does not count"
    compare(gateway, good, ADDED)
    for _ in range(3):
        assert perform(gateway, guess).error == 1002
    eventually(lambda: explain(gateway, good).get("error") == 1508)
    compare(gateway, good._replace(number=1508))
    compare(gateway, good._replace(peer="127.0.0.3"), ADDED)


def test_a_key_is_not_rotated(gateway: Gateway) -> None:
    told = explain(gateway, Case(0, "POST", "/api/v1/me/keys/rotate", _key("plain")))
    assert (told["verdict"], told["status"]) == ("answered", None)
    assert perform(gateway, CASES["good"]).status == 200

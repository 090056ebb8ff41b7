"""What a caller learns and changes about himself."""

import json
from typing import Any

import pytest

from gateway.exchange import Credential
from gateway.link import Command, Done, Failed
from gateway.settings.key import digest
from tests.gateway.relay.stage import KEY, Stage

DOCUMENT = """
plugins: [key_auth, acl]
roles: {developer: {may: [infer, "traces:*"]}}
backends: {a: {echo: }}
models: {small: {backend: a}, large: {backend: a}, theirs: {backend: a, projects: [other]}}
"""
ROTATE = "/api/v1/me/keys/rotate"


@pytest.fixture
async def open_stage(stage: Stage) -> Stage:
    stage.supervisor.keys |= {
        digest("key-of-dan-1"): Credential(
            "k2", "dan", "free", "rockets", 1_800_000_000.0, models=("s*",), role="developer", methods=("GET", "POST")
        ),
        digest("token-of-tom"): Credential("t", "tom", "free", kind="jwt"),
    }  # fmt: skip
    return await stage.start(DOCUMENT)


async def test_who_i_am(open_stage: Stage) -> None:
    answered = await open_stage.ask("GET", "/api/v1/me", key="key-of-dan-1", x_request_id="mine")
    told = json.loads(answered.body)
    assert (answered.status, told["status"]) == (200, "success")
    assert told["data"] == {
        "consumer": "dan", "project": "rockets", "role": "developer", "tier": "free", "models": ["small"],
        "credential": {"id": "k2", "kind": "key", "expires": "2027-01-15T08:00:00Z"},
        "permissions": ["infer", "traces:*"], "methods": ["GET", "POST"],
    }  # fmt: skip
    assert told["meta"]["request_id"] == "mine"
    assert set(told["meta"]) == {"timestamp", "execution_time_ms", "cached", "version", "request_id"}
    assert answered.header("cache-control") == "private, no-cache"


async def test_s05_the_key_is_in_no_answer(open_stage: Stage) -> None:
    for key in (KEY, "key-of-dan-1"):
        answered = await open_stage.ask("GET", "/api/v1/me", key=key)
        assert key not in answered.body.decode()
        assert digest(key).hex() not in answered.body.decode()


async def test_those_without_scopes(open_stage: Stage) -> None:
    told = json.loads((await open_stage.ask("GET", "/api/v1/me")).body)["data"]
    assert (told["role"], told["permissions"], told["methods"]) == ("", ["infer"], ["*"])
    assert told["models"] == ["small", "large"]
    assert told["credential"] == {"id": "main", "kind": "key", "expires": None}


async def test_nobody_has_no_page(open_stage: Stage) -> None:
    assert (await open_stage.ask("GET", "/api/v1/me", key="")).number == 1001
    assert (await open_stage.ask("POST", ROTATE, key="")).number == 1001
    assert (await open_stage.ask("GET", ROTATE)).number == 1207
    assert not open_stage.supervisor.told(Command)


def answer(stage: Stage, reply: Any) -> None:
    """What control says to commands."""
    known = stage.supervisor.answer
    stage._far._handler = lambda message: (known(message), reply)[1] if isinstance(message, Command) else known(message)


@pytest.mark.parametrize(("body", "overlap"), [(b"", 0.0), (b"{}", 0.0), (b'{"overlap": 60}', 60.0)])
async def test_a_new_key_in_place_of_mine(open_stage: Stage, body: bytes, overlap: float) -> None:
    answer(open_stage, Done({"id": "k9", "consumer": "dan", "key": "tk_new"}))
    answered = await open_stage.ask("POST", ROTATE, body, key="key-of-dan-1")
    assert (answered.status, answered.header("cache-control")) == (201, "no-store")
    assert json.loads(answered.body)["data"] == {
        "id": "k9", "consumer": "dan", "key": "tk_new", "replaces": "k2", "overlap": overlap,
    }  # fmt: skip
    (asked,) = open_stage.supervisor.told(Command)
    assert asked == Command("me.rotate", {"id": "k2", "consumer": "dan", "overlap": overlap})
    await open_stage.row()
    assert "tk_new" not in (open_stage.folder / "journal" / "w.0.jsonl").read_text()


@pytest.mark.parametrize(
    ("body", "key", "reply", "status", "number"),
    [
        (b"[]", KEY, None, 400, 1210),
        (b'{"overlap": -1}', KEY, None, 400, 1214),
        (b'{"overlap": 604801}', KEY, None, 400, 1214),
        (b'{"overlap": "1h"}', KEY, None, 400, 1214),
        (b'{"overlap": 1, "id": "k1"}', KEY, None, 400, 1214),  # whose key it is is not the caller's to say
        (b"x" * 5000, KEY, None, 413, 1208),
        (b"", "token-of-tom", None, 409, 1401),
        (b"", KEY, Failed("key main is none of the store's; the operator changes it"), 409, 1401),
        (b"", KEY, Failed("The control process does not answer", 1602, 1.0), 503, 1604),
    ],
)
async def test_what_cannot_be(open_stage: Stage, body: bytes, key: str, reply: Any, status: int, number: int) -> None:
    answer(open_stage, reply)
    answered = await open_stage.ask("POST", ROTATE, body, key=key)
    assert (answered.status, answered.number) == (status, number)
    assert len(open_stage.supervisor.told(Command)) == (reply is not None)
    if reply is not None and number == 1401:
        assert (
            json.loads(answered.body)["error"]["message"] == "Key main is none of the store's; the operator changes it."
        )


async def test_a_configured_route_takes_their_place(stage: Stage) -> None:
    await stage.start(
        "plugins: [key_auth]\nbackends: {a: {echo: }}\nroutes: [{path: /api/v1/me, to: a, methods: [GET]}]"
    )
    assert (await stage.ask("GET", "/api/v1/me")).number != 0

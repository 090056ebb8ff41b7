"""The plugin contract, proven by plugins that were written for nothing else."""

import asyncio
import json
from typing import Any

import pytest

from gateway.plugin import AnyPlugin
from gateway.relay.assembly import assemble
from gateway.settings.load import load_text
from tests.gateway.http.peers import eventually
from tests.gateway.relay.stage import Stage, ok, read_whole

pytestmark = pytest.mark.usefixtures("third_parties")
BODY = b'{"model":"m"}'
WHOLE = ok(b'{"id":"1"}', "content-type: application/json")


def document(url: str, *chain: str | dict[str, Any], auth: str = "required", slow: str = "http://127.0.0.1:1") -> str:
    sections = {
        "timeouts": {"first_byte": "200ms"},
        "plugins": [{name: {}} if isinstance(name, str) else name for name in chain],
        "backends": {
            "up": {"http": {"endpoints": [{"url": url}]}},
            "silent": {"http": {"endpoints": [{"url": slow}]}},
        },
        "models": {"m": {"backend": "up"}, "slow": {"backend": "silent"}},
        "routes": [{"path": "/v1/x", "auth": auth}, {"path": "/plain/*", "to": "up", "auth": auth}],
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in sections.items())


def find(stage: Stage, name: str) -> list[Any]:
    found: list[AnyPlugin] = [p for p in stage.assembly.plugins if type(p).__module__ == f"plugins.{name}"]
    return found


# --- a cache: needs the body, buffers the answer, replies by itself


async def test_a_caching_plugin(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(WHOLE), "key_auth", "answer_cache", "quota"))
    first, second = await stage.ask(body=BODY), await stage.ask(body=BODY)
    assert (first.header("x-cache-status"), second.header("x-cache-status")) == ("miss", "hit")
    assert first.body == second.body == b'{"id":"1"}'
    assert second.header("content-type") == "application/json" and second.number == 0
    other = await stage.ask(body=b'{"model":"m","n":1}')
    assert other.header("x-cache-status") == "miss"
    assert len(stage.received) == 2
    assert [(row.outcome, row.units, row.upstream_status) for row in stage.closed()] == [
        ("complete", 1000, 200), ("answered", 0, 0), ("complete", 1000, 200),
    ]  # fmt: skip
    assert stage.used() == 2000, "the quota stands behind the cache here"


async def test_a_cache_does_not_keep_failures(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(ok(b"x", status="500 No")), "key_auth", "answer_cache"))
    assert [(await stage.ask(body=BODY)).header("x-cache-status") for _ in range(2)] == ["miss", "miss"]
    assert len(stage.received) == 2


async def test_what_is_buffered_is_bounded(stage: Stage) -> None:
    url = await stage.upstream(ok(b"x" * 20_001))
    await stage.start(document(url, "key_auth", "answer_cache"))
    answered = await stage.ask(body=BODY)
    assert (answered.status, answered.number) == (502, 1712)
    assert await stage.blamed() == [], "that the answer is long is no fault of the endpoint"


# --- replies that come in pieces


async def test_a_reply_in_pieces_passes_the_whole_chain(stage: Stage) -> None:
    await stage.start(document("http://127.0.0.1:1", "key_auth", "quota", "drip"))
    answered = await stage.ask("GET", "/plain/x", x_drip="one two", x_response="status")
    assert (answered.status, answered.body, answered.header("x-seen")) == (418, b"ONETWO", "yes")
    assert answered.header("x-ratelimit-remaining") == "149"
    row = await stage.row()
    assert (row.outcome, row.bytes_out, row.units) == ("answered", 6, 1000)


async def test_a_reply_that_fails_before_its_first_piece_has_a_status(stage: Stage) -> None:
    await stage.start(document("http://127.0.0.1:1", "key_auth", "quota", "drip"))
    answered = await stage.ask("GET", "/plain/x", x_drip="fail")
    assert (answered.status, answered.number) == (502, 1702)
    assert (await stage.row()).outcome == "failed"
    await eventually(lambda: stage.used() == 0)


async def test_a_reply_that_fails_in_the_middle_does_not_look_whole(stage: Stage) -> None:
    await stage.start(document("http://127.0.0.1:1", "key_auth", "quota", "drip"))
    client = await stage.send("GET", "/plain/x", x_drip="one fail")
    got = await client.rest()
    assert b"ONE" in got and not got.endswith(b"0\r\n\r\n")
    assert (await stage.row()).outcome == "failed"


async def test_who_leaves_in_the_middle_of_a_reply_has_had_it(stage: Stage) -> None:
    await stage.start(document("http://127.0.0.1:1", "key_auth", "quota", "drip"))
    client = await stage.send("GET", "/plain/x", x_drip="one wait")
    await client.reader.readuntil(b"ONE")
    client.writer.transport.abort()
    row = await stage.row()
    assert (row.outcome, row.units, row.tokens_source) == ("left", 1000, "none")


async def test_a_response_hook_that_refuses_takes_the_place_of_the_answer(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(WHOLE), "key_auth", "quota", "drip"))
    answered = await stage.ask(body=BODY, x_response="refuse")
    assert (answered.status, answered.number) == (403, 1103)
    row = await stage.row()
    assert (row.outcome, row.units, row.upstream_status) == ("complete", 1000, 200), "the work was done"


@pytest.mark.parametrize(("path", "body"), [("/v1/x", BODY), ("/plain/x", b"")])
async def test_a_chunk_hook_that_fails_is_a_bug_of_ours(stage: Stage, path: str, body: bytes, caplog: Any) -> None:
    await stage.start(document(await stage.upstream(WHOLE), "key_auth", "quota", "drip"))
    answered = await stage.ask(path=path, body=body, x_chunk="fail")
    assert (answered.status, answered.number) == (500, 1900)
    assert (await stage.row()).outcome == "failed"
    assert "ZeroDivisionError" in caplog.text
    await eventually(lambda: stage.used() == 0)


# --- authentication composes


@pytest.mark.parametrize(
    ("auth", "token", "key", "number", "consumer"),
    [
        ("required", "", "", 1001, ""),
        ("required", "bob", "", 0, "bob"),
        ("required", "", "key-of-acme-0001", 0, "acme"),
        ("required", "eve", "key-of-acme-0001", 1002, ""),  # a bad one is refused, whatever comes after it
        ("required", "bob", "no-such-key-1", 1002, "bob"),
        ("optional", "", "", 0, ""),
        ("optional", "bob", "", 0, "bob"),
        ("optional", "eve", "", 1002, ""),
        ("none", "eve", "no-such-key-1", 0, ""),  # nobody is asked, so nobody is wrong
    ],
)
async def test_authentication_composes(
    stage: Stage, auth: str, token: str, key: str, number: int, consumer: str
) -> None:
    chain = ({"token_auth": {"known": ["bob"]}}, "key_auth")
    await stage.start(document(await stage.upstream(WHOLE), *chain, auth=auth))
    headers = {"x_token": token} if token else {}
    answered = await stage.ask("POST", "/v1/x", BODY, key, **headers)
    assert answered.number == number
    row = await stage.row()
    assert row.opened.consumer == consumer


async def test_nobody_who_may_not_enter_uploads_a_body(stage: Stage) -> None:
    await stage.start(document("http://127.0.0.1:1", "key_auth", "answer_cache"))
    client = await stage.site.client(stage.port)
    await client.send(b"POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 9000\r\nexpect: 100-continue\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 401 ")


# --- what cannot work is refused when it is loaded


@pytest.mark.parametrize(("name", "hook"), [("async_log", "log"), ("async_chunk", "chunk")])
def test_an_async_hook_that_nobody_awaits_is_refused(name: str, hook: str) -> None:
    config = load_text(document("http://127.0.0.1:1", name), {})
    with pytest.raises(TypeError, match=rf"plugins\.{name}\.Plugin\.{hook} must be a plain function"):
        assemble(config, 0)


# --- `log` runs exactly once, however it ended


async def wait_forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_whole(reader)
    await reader.read()


async def test_log_runs_once_however_the_request_ended(stage: Stage) -> None:
    silent = f"http://127.0.0.1:{(await stage.site.upstream(wait_forever)).port}"
    chain: tuple[Any, ...] = ({"ledger_book": {"log_fails": True}}, "key_auth", "quota", "drip", "ledger_book")
    await stage.start(document(await stage.upstream(WHOLE), *chain, slow=silent))
    slow = b'{"model":"slow"}'

    async def leave(name: str, body: bytes, **headers: str) -> None:
        client = await stage.send("POST", "/v1/x", body, x_request_id=name, **headers)
        await asyncio.sleep(0.05)
        client.writer.transport.abort()

    await stage.ask(body=BODY, x_request_id="complete")
    await stage.ask(body=BODY, key="", x_request_id="refused")
    await stage.ask(body=b"{", x_request_id="bad")
    await stage.ask("GET", "/nowhere", x_request_id="lost")
    await stage.ask("GET", "/v1/models", x_request_id="own")
    await stage.ask(body=BODY, x_request_id="answered", x_drip="a b")
    await stage.ask(body=slow, x_request_id="slow")
    await stage.ask(body=BODY, x_request_id="buggy", x_chunk="fail")
    await leave("left", slow)
    await leave("left-early", slow, x_drip="wait")
    first, last = find(stage, "ledger_book")
    await eventually(lambda: len(last.ended) == 10)
    expected = {
        "complete": "complete", "refused": "refused", "bad": "refused", "lost": "turned_away", "own": "answered",
        "answered": "answered", "slow": "upstream_failed", "buggy": "failed", "left": "left",
        "left-early": "left_waiting",
    }  # fmt: skip
    for plugin in (first, last):
        assert len(plugin.ended) == 10 and dict(plugin.ended) == expected
    assert set(first.entered) == set(expected)
    assert set(last.entered) == {"complete", "lost", "own", "slow", "buggy", "left"}, "and even if `access` never ran"
    assert {row.opened.request_id: row.outcome for row in stage.closed()} == expected

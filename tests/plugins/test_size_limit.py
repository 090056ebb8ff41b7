"""How large a request may be: by tier, before the upload and while it comes."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.loader import load_plugin
from plugins.size_limit import Plugin
from tests.gateway.http.peers import RawClient
from tests.gateway.relay.stage import KEY, Stage, ok, read_answer

DOCUMENT = """
plugins: [key_auth, {size_limit: {body: 5KB, tiers: {free: 1KB}, query: 20, headers: 300}}, quota]
backends: {up: {http: {endpoints: [{url: "%s"}]}}}
models: {m: {backend: up}}
routes: [{path: /v1/x}, {path: /plain/*, to: up}]
"""
MODEL = b'{"model":"m","x":"%b"}'


async def start(stage: Stage) -> Stage:
    return await stage.start(DOCUMENT % await stage.upstream(ok(b"{}")))


@pytest.mark.parametrize(("length", "status"), [(1000, 200), (1001, 413)])
@pytest.mark.parametrize("path", ["/v1/x", "/plain/x"])
async def test_a_body_has_a_limit(stage: Stage, path: str, length: int, status: int) -> None:
    await start(stage)
    body = MODEL % (b"y" * (length - len(MODEL % b"")))
    answered = await stage.ask(path=path, body=body)
    assert (answered.status, answered.number) == (status, 1208 if status == 413 else 0)
    assert len(stage.received) == (status == 200)


async def test_s38_a_large_upload_is_refused_before_it_is_read(stage: Stage) -> None:
    await start(stage)
    client = await announce(stage, f"content-length: {10**9}\r\nexpect: 100-continue\r\n")
    answered = await read_answer(client)
    assert (answered.status, answered.number) == (413, 1208), "and not a 100"
    assert stage.received == [] and stage.used() == 0


@pytest.mark.parametrize("path", ["/v1/x", "/plain/x"])
async def test_s38_a_body_in_chunks_is_cut_off_at_the_limit(stage: Stage, path: str) -> None:
    await start(stage)
    client = await announce(stage, "transfer-encoding: chunked\r\n", path)
    for _ in range(11):
        await client.send(b"64\r\n" + b"x" * 100 + b"\r\n")
        await asyncio.sleep(0.005)
    answered = await read_answer(client)
    assert (answered.status, answered.number) == (413, 1208)
    assert json.loads(answered.body)["error"]["details"] == {"limit": 1000}


async def announce(stage: Stage, lines: str, path: str = "/plain/x") -> RawClient:
    client = await stage.site.client(stage.port)
    head = f"POST {path} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\n{lines}\r\n"
    await client.send(head.encode())
    return client


async def test_the_routes_own_limit_still_holds(stage: Stage) -> None:
    text = DOCUMENT.replace("tiers: {free: 1KB}", "tiers: {free: 1GB}")
    await stage.start(text % await stage.upstream(ok(b"{}")))
    assert (await stage.ask(path="/plain/x", body=b"x" * 10_000)).status == 200
    assert (await stage.ask(path="/plain/x", body=b"x" * 10_001)).number == 1208


async def test_query_and_headers_have_limits(stage: Stage) -> None:
    await start(stage)
    assert (await stage.ask("GET", "/plain/x?" + "q" * 20)).status == 200
    answered = await stage.ask("GET", "/plain/x?" + "q" * 21)
    assert (answered.status, answered.number) == (400, 1219)
    answered = await stage.ask("GET", "/plain/x", x_long="y" * 300)
    assert (answered.status, answered.number) == (431, 1206)


# --- the decision alone


async def decide(raw: dict[str, Any], length: int | None, credential: Credential | None) -> Exchange:
    plugin = load_plugin("size_limit", raw)
    assert isinstance(plugin, Plugin)
    await plugin.start(Lent())  # type: ignore[arg-type]
    lines = [(b"host", b"a")] + ([(b"content-length", str(length).encode())] if length is not None else [])
    exchange = Exchange("id", read_head(b"POST", b"/x", "1.1", lines), "POST", "/x", 0.0)
    exchange.credential = credential
    plugin.access(exchange)
    return exchange


class Lent:
    class clock:
        @staticmethod
        def wall() -> float:
            return 1000.0


@pytest.mark.parametrize(
    ("credential", "limit"),
    [
        (None, 10), (Credential("k", "c", "free"), 20), (Credential("k", "c", "other"), 1000),
        (Credential("k", "c", "big"), 0), (Credential("k", "c", "free", override_tier="big"), 0),
        (Credential("k", "c", "free", override_tier="big", override_until=999.0), 20),
    ],
)  # fmt: skip
async def test_the_tier_decides(credential: Credential | None, limit: int) -> None:
    raw = {"body": "1KB", "tiers": {"free": 20, "big": 0, "anonymous": 10}}
    assert (await decide(raw, None, credential)).body_limit == limit
    assert (await decide(raw, limit, credential)).body_limit == limit
    if limit:
        with pytest.raises(GatewayError) as caught:
            await decide(raw, limit + 1, credential)
        assert caught.value.details == {"rule": "size_limit:body", "limit": limit, "used": limit + 1}


async def test_a_body_that_was_read_already_is_measured() -> None:
    plugin = Plugin(type(load_plugin("size_limit", {}).settings)(body=10))
    exchange = Exchange("id", read_head(b"POST", b"/x", "1.1", [(b"host", b"a")]), "POST", "/x", 0.0)
    exchange.body = b"x" * 11
    with pytest.raises(GatewayError):
        plugin.access(exchange)


@given(st.text(max_size=40), st.binary(max_size=40), st.integers(0, 10**12))
async def test_whatever_comes_only_the_catalogue_answers(query: str, value: bytes, length: int) -> None:
    plugin = Plugin(type(load_plugin("size_limit", {}).settings)(body=10, query=10, headers=40))
    lines = [(b"x", value), (b"content-length", str(length).encode())]
    exchange = Exchange("id", read_head(b"POST", b"/x", "1.1", [(b"host", b"a"), *lines]), "POST", "/x", 0.0)
    exchange.query = query
    try:
        plugin.access(exchange)
        assert length <= 10 and len(query) <= 10
    except GatewayError as error:
        assert error.number in (1206, 1208, 1219)

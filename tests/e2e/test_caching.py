"""A cache that several workers share, seen from outside: who reached the engine, and what the others got."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import aiohttp
import pytest

from tests.harness import Gateway, config, eventually, running_gateway
from tests.redis import running_redis

CROWD = 100


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    document = config(
        plugins=[{"key_auth": {}}, {"response_cache": {"store": "shared"}}, {"quota": {}}],
        routes=[
            {"path": "/v1/chat/completions"},
            {
                "path": "/echo",
                "to": "echo",
                "plugins": [{"key_auth": {}}, {"http_cache": {"store": True}}, {"quota": {}}],
            },
        ],
    )
    with running_gateway(document, workers=2) as gateway:
        yield gateway


def asking(text: str, **more: object) -> bytes:
    return json.dumps({"model": "echo", "messages": [{"role": "user", "content": text}], **more}).encode()


async def crowd(gateway: Gateway, body: bytes, count: int, tier: str = "open") -> Counter[tuple[int, str, bytes]]:
    """So many at once, on connections of their own: status, what the cache did, and the body."""
    told: Counter[tuple[int, str, bytes]] = Counter()

    async def ask(session: aiohttp.ClientSession) -> None:
        headers = {"authorization": f"Bearer {gateway.key(tier)}"}
        async with session.post(f"{gateway.url}/v1/chat/completions", data=body, headers=headers) as answer:
            told[answer.status, answer.headers["X-Cache-Status"], await answer.read()] += 1

    timeout = aiohttp.ClientTimeout(20)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(ask(session) for _ in range(count)))
    return told


def calls(gateway: Gateway, path: str = "/v1/chat/completions") -> int:
    """Requests that reached the engine."""
    return sum(row["backend"] != "" for row in gateway.rows() if row["path"] == path)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_crowd_reaches_the_engine_once_whichever_worker_it_meets(gateway: Gateway, stream: bool) -> None:
    before, rows = calls(gateway), len(gateway.rows())
    told = await crowd(gateway, asking("one two three", stream=stream, echo={"delay": 0.5}), CROWD)
    assert {(status, body) for status, _, body in told} == {(200, next(iter(told))[2])}, "all got the same answer"
    assert Counter({result: told[200, result, body] for _, result, body in told})["miss"] == 1
    again = await crowd(gateway, asking("one two three", stream=stream, echo={"delay": 0.5}), 20)
    assert {result for _, result, _ in again} == {"hit"}, "both workers have it"
    eventually(lambda: len(gateway.rows()) == rows + CROWD + 20)
    assert calls(gateway) == before + 1


async def test_s62_tenants_do_not_share(gateway: Gateway) -> None:
    body = asking("whose is this?")
    for tier in ("open", "monthly"):
        assert [result for _, result, _ in await crowd(gateway, body, 1, tier)] == ["miss"]


async def test_a_crowd_that_meets_failures_gets_one_answer_each(gateway: Gateway) -> None:
    told = await crowd(gateway, asking("broken", echo={"fail": 400, "delay": 0.1}), 20)
    assert sum(told.values()) == 20 and {status for status, _, _ in told} == {400}


async def test_what_is_fetched_again_need_not_be_sent_again(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {gateway.key('open')}"}
    connector = aiohttp.TCPConnector(limit=1)  # one connection: one worker
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        seen = []
        for extra in ({}, {}, {"If-None-Match": "?"}, {"If-Match": '"other"'}):
            extra = {name: value.replace("?", seen[0][2]) for name, value in extra.items()}
            async with session.get(f"{gateway.url}/echo", headers=extra) as answer:
                body = await answer.read()
                seen.append((answer.status, answer.headers["X-Cache-Status"], answer.headers.get("ETag", ""), body))
    (first, again, same, other) = seen
    assert (first[:2], again[:2], same[:2], other[:2]) == (
        (200, "miss"), (200, "hit"), (304, "hit"), (412, "bypass"),
    )  # fmt: skip
    assert again[2:] == first[2:] and same[2:] == (first[2], b"")


def test_it_is_counted(gateway: Gateway) -> None:
    metrics = gateway.metrics()
    of = 'tollkeeper_cache_requests_total{cache="response_cache",result="%s"}'
    assert metrics[of % "miss"] >= 2 and metrics[of % "hit"] >= 20 and metrics[of % "coalesced"] >= CROWD
    for cache in ("response_cache", "worker", "supervisor"):
        assert metrics[f'tollkeeper_cache_bytes{{cache="{cache}"}}'] > 0
    eventually(lambda: {row["cache"] for row in gateway.rows()} == {"miss", "hit", "coalesced", "bypass"})


async def test_those_that_wait_are_told_when_the_gateway_ends() -> None:
    document = config(
        timeouts={"shutdown_drain": 0.5}, plugins=[{"key_auth": {}}, {"response_cache": {}}, {"quota": {}}]
    )
    with running_gateway(document) as gateway:
        asked = asyncio.ensure_future(refusals(gateway, asking("wait", echo={"delay": 20}), 10))
        await asyncio.to_thread(eventually, lambda: gateway.metrics().get('tollkeeper_inflight{backend="echo"}') == 1)
        gateway.process.terminate()
        assert await asked == [(503, 1901)] * 10
        assert await asyncio.to_thread(gateway.process.wait, 10) == 0


async def refusals(gateway: Gateway, body: bytes, count: int) -> list[tuple[int, int]]:
    """Status and number of so many identical requests."""

    async def ask(session: aiohttp.ClientSession) -> tuple[int, int]:
        async with session.post(f"{gateway.url}/v1/chat/completions", data=body, headers=headers) as answer:
            return answer.status, int(answer.headers["X-Tollkeeper-Error"])

    headers = {"authorization": f"Bearer {gateway.key('open')}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        return await asyncio.gather(*(ask(session) for _ in range(count)))


async def test_replicas_that_share_redis_share_answers() -> None:
    with running_redis() as redis, ExitStack() as stack:
        document = config(
            state={"redis": redis.url},
            plugins=[{"key_auth": {}}, {"response_cache": {"store": "shared"}}, {"quota": {}}],
        )
        pair = [stack.enter_context(running_gateway(document)) for _ in range(2)]
        body = asking("over two replicas", echo={"delay": 0.5})
        told = await asyncio.gather(*(crowd(gateway, body, CROWD // 2) for gateway in pair))
        results = Counter({result: 0 for result in ("miss", "coalesced")})
        for counted in told:
            for (status, result, _), count in counted.items():
                assert status == 200
                results[result] += count
        assert results == {"miss": 1, "coalesced": CROWD - 1}

"""`tollkeeper loadtest` against a gateway that keeps its promises, and against servers that do not."""

import asyncio
import json
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import pytest
from aiohttp import web

from gateway.cli.loadtest.caller import Caller, Purse, Shot
from gateway.cli.loadtest.concurrency import Concurrency
from gateway.cli.loadtest.figure import Check, Row, count_ends, describe_times, percentile
from gateway.cli.loadtest.limits import Limits
from gateway.cli.loadtest.target import Target, is_loopback
from gateway.cli.loadtest.throughput import Throughput
from gateway.cli.loadtest.validation import Validation
from tests.harness import COMMAND, Gateway, config, running_gateway

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


# --- against the real one


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    tiers = {"free": {"rate": "120/min", "burst": 30}, "open": {"rate": "unlimited"}}
    with running_gateway(config(tiers=tiers), workers=2) as gateway:
        yield gateway


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, "loadtest", *arguments], capture_output=True, text=True, timeout=40)


def test_a_gateway_that_keeps_its_limits(gateway: Gateway) -> None:
    done = run(gateway.url, "--key", gateway.key("free"), "--seconds", "2", "--connections", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert re.search(r"limits\W+admitted\W+ok", done.stdout)
    assert re.search(r"Retry-After\W+ok", done.stdout)
    assert len(re.findall(r"validation\W.*ok", done.stdout)) == 14


def test_a_gateway_without_limits(gateway: Gateway) -> None:
    arguments = ("--key", gateway.key("open"), "--seconds", "0.5", "--connections", "4", "--model", "echo")
    done = run(gateway.url + "/v1", *arguments, "--only", "limits", "--only", "throughput")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"limits\W+announced\W+skipped", done.stdout)
    assert re.search(r"throughput\W+answers\W+ok\W+200: \d+ ", done.stdout)
    assert "validation" not in done.stdout


def test_the_requests_are_counted(gateway: Gateway) -> None:
    def count() -> float:
        return sum(value for name, value in gateway.metrics().items() if name.startswith("tollkeeper_requests_total"))

    before = count()
    run(gateway.url, "--key", gateway.key("open"), "--model", "echo", "--only", "throughput", "--requests", "20")
    assert count() - before == 20


def test_an_interrupt_prints_what_is_there(gateway: Gateway) -> None:
    arguments = (
        gateway.url,
        "--key",
        gateway.key("open"),
        "--model",
        "echo",
        "--seconds",
        "30",
        "--only",
        "throughput",
    )
    process = subprocess.Popen([*COMMAND, "loadtest", *arguments], stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert re.search(r"throughput\W+answers\W+ok\W+200: \d+", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://192.0.2.1:8000"], "--yes"),
        (["http://localhost.example.com"], "--yes"),
        (["http://127.0.0.1:1", "--seconds", "61"], "--heavy"),
        (["http://127.0.0.1:1", "--requests", "10001"], "--heavy"),
        (["http://127.0.0.1:1", "--connections", "257"], "--heavy"),
        (["http://127.0.0.1:1", "--heavy", "--seconds", "601"], "601"),
        (["127.0.0.1:8000"], "http://HOST:PORT"),
    ],
)
def test_what_is_too_much_is_refused(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2 and words in done.stderr


def test_nobody_there() -> None:
    done = run("http://127.0.0.1:1")
    assert done.returncode == 1 and "lists no model" in done.stderr


# --- against others


Serve = Callable[[Handler], Awaitable[Caller]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners = []
    async with aiohttp.ClientSession() as session:

        async def serve(handler: Handler) -> Caller:
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", handler)
            runner = web.AppRunner(app, access_log=None)
            runners.append(runner)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            return Caller(session, Target(f"http://127.0.0.1:{port}", "a-key", "m", seconds=0.5, connections=4))

        yield serve
    for runner in runners:
        await runner.cleanup()


async def judge(check: Check) -> dict[str, Row]:
    await check.run()
    return {row.what: row for row in check.rows()}


def limited(admits: int, says: int, retry: Callable[[], int] = lambda: 200, after: str = "0") -> Handler:
    """A server that announces `says` requests, admits some, and answers `retry()` after its first refusal."""
    seen = refused = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal seen, refused
        seen += 1
        if refused:
            return web.Response(status=retry(), headers={"Retry-After": after})
        if seen > admits:
            refused = 1
            return web.Response(status=429, headers={"Retry-After": after} if after else {})
        told = {"X-RateLimit-Limit": str(says), "X-RateLimit-Remaining": str(max(0, says - seen))}
        return web.json_response({}, headers={**told, "RateLimit-Policy": f'"x";q={says};w=3600'})

    return handle


@pytest.mark.parametrize(("admits", "says", "result"), [(20, 20, "ok"), (40, 20, "FAILED"), (10, 20, "FAILED")])
async def test_more_or_less_than_announced(serve: Serve, admits: int, says: int, result: str) -> None:
    rows = await judge(Limits(await serve(limited(admits, says, lambda: 429)), Purse(1000)))
    assert rows["admitted"].result == result


@pytest.mark.parametrize(
    ("retry", "after", "result"),
    [(200, "0", "ok"), (429, "0", "FAILED"), (200, "", "FAILED"), (200, "3600", "skipped")],
)
async def test_retry_after(serve: Serve, retry: int, after: str, result: str) -> None:
    caller = await serve(limited(5, 5, lambda: retry, after))
    rows = await judge(Limits(Caller(caller._session, Target(caller.target.url, "", "m", 0.5, 1)), Purse(1000)))
    assert rows["Retry-After"].result == result


async def test_a_limit_that_is_not_reached_is_not_judged(serve: Serve) -> None:
    rows = await judge(Limits(await serve(limited(10**6, 10**6)), Purse(30)))
    assert rows["admitted"].result == "skipped"


async def test_crashes_and_broken_streams_are_found(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if not (await request.json()).get("stream"):
            return web.Response(status=500)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"data: {}\n\n")
        return answer

    caller = await serve(handle)
    for check in (Concurrency(caller, Purse(8)), Throughput(caller, Purse(8))):
        rows = await judge(check)
        row = rows.get("answered") or rows["answers"]
        assert row.result == "FAILED"
        assert "500" in row.detail and "the stream has no end" in row.detail


async def test_a_connection_that_breaks_is_found(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    rows = await judge(Concurrency(await serve(handle), Purse(8)))
    assert rows["answered"].result == "FAILED" and "Disconnected" in rows["answered"].detail


async def test_a_server_that_takes_anything(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({})

    rows = await judge(Validation(await serve(handle), Purse(100)))
    assert {row.result for row in rows.values()} == {"FAILED"}


async def test_a_refusal_that_no_client_understands(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text="no")

    rows = await judge(Validation(await serve(handle), Purse(100)))
    assert rows["no JSON"].result == "FAILED" and "OpenAI" in rows["no JSON"].detail


async def test_the_purse_bounds_every_check(serve: Serve) -> None:
    seen = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal seen
        seen += 1
        told = {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "999"}
        return web.Response(body=json.dumps({}), headers=told)

    caller = await serve(handle)
    purse = Purse(25)
    for check in (Validation, Limits, Concurrency, Throughput):
        await check(caller, purse).run()
    assert purse.left == 0
    assert 24 <= seen <= 25  # aiohttp refuses one by itself
    rows = await judge(Throughput(caller, purse))
    assert rows["answers"].result == "skipped"


async def test_what_was_seen_is_told_when_it_is_broken_off(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({})

    check = Throughput(await serve(handle), Purse(10**6))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await check.run()
    assert {row.what: row.result for row in check.rows()}["answers"] == "FAILED"  # its streams have no end


# --- figures


def test_figures() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1.0], 0.99) == 1.0
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert describe_times([0.001, 0.002], 50, 99) == "p50 1.0 ms, p99 2.0 ms"
    assert describe_times([], 50) == "-"
    assert count_ends([Shot(200, 0, 0), Shot(200, 0, 0), Shot(429, 0, 0, number=1501)]) == "200: 2, 429 (1501): 1"


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("http://127.0.0.1:80", True), ("http://[::1]:80", True), ("http://localhost:8000", True),
        ("http://127.1.2.3", True), ("http://10.0.0.1", False), ("https://example.com", False),
        ("http://127.0.0.1.example.com", False), ("http://0.0.0.0", False), ("http://", False),
    ],
)  # fmt: skip
def test_loopback(url: str, is_ours: bool) -> None:
    assert is_loopback(url) is is_ours

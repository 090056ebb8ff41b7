"""What one ask of the shared ledger costs a worker: our client beside redis-py's. `python -m tests.bench.redis`."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
import uvloop

from gateway.ledger.limit import Ask, Need, Quota, Rate
from gateway.ledger.period import month_at
from gateway.ledger.script import LEDGER, take
from gateway.redis.client import Client
from gateway.redis.connection import expect
from gateway.redis.location import parse_location
from tests.redis import running_redis

_CALLS = 10_000
_LIMITS = (Rate("{bench}:rate", 10**6, 1_000_000, 10**9), Quota("{bench}:month", 10**9))


async def compare() -> None:
    """Print microseconds of wall time and of this process's CPU per call, one at a time and 64 at once."""
    ask = Ask("charge", tuple(Need(limit, 1000) for limit in _LIMITS))
    keys, arguments = take("take", "bench", ask, month_at(time.time_ns() // 1000, "UTC"))
    with running_redis() as server:
        client = Client(parse_location(server.url), patience=5.0)
        await client.start()
        theirs = redis.asyncio.Redis(port=server.port)

        async def call_ours() -> Any:
            future, receiver = expect()
            client.run(LEDGER, keys, arguments, receiver)
            return await future

        async def call_theirs() -> Any:
            return await theirs.evalsha(LEDGER.sha, len(keys), *keys, *arguments)

        for at_once in (1, 64):
            for name, call in (("gateway.redis", call_ours), ("redis-py", call_theirs)):
                wall, cpu = await _time(call, at_once)
                print(f"{name:14} {at_once:3} at once: {wall:6.1f} us, of them {cpu:5.1f} us of CPU here")
        await theirs.aclose()
        client.close()


async def _time(call: Callable[[], Awaitable[Any]], at_once: int) -> tuple[float, float]:
    async def run(times: int) -> None:
        for _ in range(times):
            await call()

    await run(100)
    begun, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*[run(_CALLS // at_once) for _ in range(at_once)])
    calls = _CALLS // at_once * at_once
    return (time.perf_counter() - begun) / calls * 1e6, (time.process_time() - used) / calls * 1e6


if __name__ == "__main__":
    uvloop.run(compare())

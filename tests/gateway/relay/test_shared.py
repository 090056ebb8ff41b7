"""What all replicas know together."""

import asyncio
import signal

import pytest

from gateway.redis.client import Client
from gateway.redis.location import parse_location
from gateway.relay.shared import RedisShared
from tests.redis import running_redis


async def test_values_and_what_was_said_once_are_known_to_all() -> None:
    with running_redis() as server:
        clients = [Client(parse_location(server.url)) for _ in range(2)]
        for client in clients:
            await client.start()
        one, two = (RedisShared(client) for client in clients)
        await one.put(b"k\x00{}", b"value \xff", 60)
        assert await two.get(b"k\x00{}") == b"value \xff"
        await two.remove(b"k\x00{}")
        assert await one.get(b"k\x00{}") is None
        assert [await shared.add(b"nonce", 0.1) for shared in (one, two, one)] == [True, False, False]
        await asyncio.sleep(0.15)
        assert await two.add(b"nonce", 60)
        await two.remove(b"nonce")
        assert await one.add(b"nonce", 60)
        assert all(server.call("PTTL", key) > 0 for key in server.call("KEYS", "*"))
        for client in clients:
            client.close()


async def test_a_redis_that_is_away_knows_nothing_and_says_so_where_it_matters() -> None:
    with running_redis() as server:
        client = Client(parse_location(server.url))
        await client.start()
        shared = RedisShared(client)
        server.signal(signal.SIGSTOP)
        assert await shared.get(b"k") is None
        await shared.put(b"k", b"v", 60)
        with pytest.raises(ConnectionError):
            await shared.add(b"k", 60)
        client.close()

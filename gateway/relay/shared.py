"""What all replicas know together, in Redis: for what may be forgotten at any time."""

import hiredis

from gateway.redis.client import Client

_FAILED = (OSError, hiredis.ReplyError)


class RedisShared:
    """Answers within the client's patience, or as if nothing were known."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, key: bytes) -> bytes | None:
        name = _name(key)
        try:
            value = await self._client.call(name, "GET", name)
        except _FAILED:
            return None
        return value if isinstance(value, bytes) else None

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        name = _name(key)
        try:
            await self._client.call(name, "SET", name, value, "PX", max(round(ttl * 1000), 1))
        except _FAILED:
            pass

    async def remove(self, key: bytes) -> None:
        name = _name(key)
        try:
            await self._client.call(name, "DEL", name)
        except _FAILED:
            pass

    async def add(self, key: bytes, ttl: float) -> bool:
        name = _name(key)
        try:
            answer = await self._client.call(name, "SET", name, b"", "PX", max(round(ttl * 1000), 1), "NX")
        except _FAILED as error:
            raise ConnectionError(str(error)) from error
        return answer is not None


def _name(key: bytes) -> str:
    return f"tk:shared:{key.hex()}"  # in hex, so that no brace in it decides where it lives

"""Bodies that go on as they come."""

import asyncio
import json

import pytest

from tests.gateway.relay.stage import KEY, Stage, ok, read_answer
from tests.gateway.relay.test_relay import document


@pytest.mark.parametrize(("pause", "attempts"), [(0.1, 1), (0.0, 2)], ids=["in pieces", "at once"])
async def test_what_went_on_as_it_came_is_not_sent_again(stage: Stage, pause: float, attempts: int) -> None:
    """Nobody has kept it: a second server would get an empty body. What came whole is sent to the next one."""
    urls = [await stage.upstream(ok(b"{}", status="500 Oops")) for _ in range(2)]
    route = json.dumps({"path": "/free", "retry": True})[:-1]
    await stage.start(document(*urls).replace('{"path": "/free"', route))
    head = f"POST /free HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-length: 10\r\n\r\n".encode()
    client = await stage.site.client(stage.port)
    if pause:
        await client.send(head + b"hello")
        await asyncio.sleep(pause)
        await client.send(b"world")
    else:
        await client.send(head + b"helloworld")
    assert (await read_answer(client)).status == 500
    assert [request[-10:] for request in stage.received] == [b"helloworld"] * attempts

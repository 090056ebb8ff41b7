"""Where a request goes when endpoints fail: the choice, the retries and their budget, over real sockets."""

import asyncio
import json
import tempfile
from pathlib import Path

import pytest

from tests.gateway.relay.stage import Stage, ok, read_whole

BODY = b'{"model":"m"}'
WHOLE = ok(b'{"id":"1"}')
BUSY = ok(b"busy", status="503 Busy")


def document(*urls: str, retry: bool = True, balance: str = "weighted") -> str:
    fleet = {"endpoints": [{"url": url} for url in urls], "balance": balance}
    return (
        f"plugins: [key_auth]\nbackends: {{up: {{http: {json.dumps(fleet)}}}}}\nmodels: {{m: {{backend: up}}}}\n"
        f"routes: [{{path: /v1/x, retry: {json.dumps(retry)}}}, {{path: /plain/*, to: up, retry: true}}]\n"
    )


async def test_every_endpoint_is_tried_once_and_the_last_answer_is_the_clients(stage: Stage) -> None:
    urls = [await stage.upstream(ok(b"%d" % number, status="503 Busy")) for number in range(3)]
    await stage.start(document(*urls))
    answered = await stage.ask(body=BODY)
    assert (answered.status, answered.number) == (503, 0), "the upstream's own words, not ours"
    assert len(stage.received) == 3
    assert (await stage.row()).retries == 2
    assert await stage.blamed() == ["endpoint"] * 3


async def test_what_is_down_is_not_asked(stage: Stage) -> None:
    bad, good = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(bad, good))
    stage.places.down = {"up": frozenset({bad})}
    for _ in range(4):
        assert (await stage.ask(body=BODY)).status == 200
    stage.places.down = {"up": frozenset({bad, good})}
    answered = await stage.ask(body=BODY)
    assert (answered.status, answered.number, answered.header("retry-after")) == (503, 1706, "5")
    assert await stage.blamed() == []
    assert [row.outcome for row in stage.closed()][-1] == "turned_away"


async def test_retries_stay_within_their_budget(stage: Stage) -> None:
    bad, good = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(bad, good))
    stage.budget.retrying = 3  # others are at it
    statuses = sorted([(await stage.ask(body=BODY)).status for _ in range(4)])
    assert statuses == [200, 200, 503, 503]
    stage.budget.retrying = 0


async def test_a_body_on_its_way_cannot_be_sent_again(stage: Stage) -> None:
    """Nobody keeps a body that streams through: whatever its endpoint says is the answer."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"first")
        writer.write(BUSY)
        await writer.drain()
        await reader.read()

    urls = [f"http://127.0.0.1:{(await stage.site.upstream(refuse)).port}" for _ in range(2)]
    await stage.start(document(*urls))
    client = await stage.site.client(stage.port)
    await client.send(
        b"POST /plain/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer key-of-acme-0001\r\n"
        b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    )
    await asyncio.sleep(0.05)
    await client.send(b"6\r\nsecond\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 503 ")
    assert stage.pool.idle == 0, "half a body was sent there"
    row = await stage.row()
    assert (row.retries, row.status) == (0, 503)


async def test_the_fewest_in_flight_are_asked_first(stage: Stage) -> None:
    gate = asyncio.Event()
    counts = [0, 0]

    def endpoint(number: int):  # type: ignore[no-untyped-def]
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_whole(reader)
                counts[number] += 1
                await gate.wait()
                writer.write(WHOLE)

        return script

    urls = [f"http://127.0.0.1:{(await stage.site.upstream(endpoint(number))).port}" for number in range(2)]
    await stage.start(document(*urls, balance="least_inflight"))
    asked = [asyncio.get_running_loop().create_task(stage.ask(body=BODY)) for _ in range(10)]
    async with asyncio.timeout(5):
        while sum(counts) < 10:
            await asyncio.sleep(0.005)
    assert counts == [5, 5]
    gate.set()
    assert {answered.status for answered in await asyncio.gather(*asked)} == {200}
    assert [candidate.inflight for candidate in stage.assembly.directions.targets["up"].candidates] == [0, 0]


async def test_connections_are_kept_and_unix_sockets_spoken(stage: Stage) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await read_whole(reader)
                writer.write(WHOLE)
        except asyncio.IncompleteReadError:
            writer.close()

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "a.sock")
        server = await asyncio.start_unix_server(serve, path)
        await stage.start(document(f"unix:{path}"))
        for _ in range(5):
            assert (await stage.ask(body=BODY)).status == 200
        assert connections == 1
        server.close()


@pytest.mark.parametrize("retry", [True, False])
async def test_one_endpoint_is_asked_once(stage: Stage, retry: bool) -> None:
    await stage.start(document(await stage.upstream(BUSY), retry=retry))
    assert (await stage.ask(body=BODY)).status == 503
    assert len(stage.received) == 1

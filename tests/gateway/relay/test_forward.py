"""Where a request goes when endpoints fail: the choice, the retries and their budget, over real sockets."""

import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.link import EndpointStates, Observation, Ready, Release, Slot, Trial
from tests.gateway.http.peers import eventually
from tests.gateway.relay.stage import Stage, ok, read_whole

BODY = b'{"model":"m"}'
WHOLE = ok(b'{"id":"1"}')
BUSY = ok(b"busy", status="503 Busy")


def document(*urls: str, retry: bool = True, balance: Any = "weighted") -> str:
    fleet = {"endpoints": [{"url": url} for url in urls], "balance": balance}
    return (
        f"plugins: [key_auth]\nbackends: {{up: {{http: {json.dumps(fleet)}}}}}\nmodels: {{m: {{backend: up}}}}\n"
        f"routes: [{{path: /v1/x, retry: {json.dumps(retry)}}}, {{path: /plain/*, to: up, retry: true}}]\n"
    )


async def told(stage: Stage, kind: type[Any]) -> list[Any]:
    """What the supervisor has been told, all of it."""
    await stage.link.call(Ready())  # behind everything that was told before
    return stage.supervisor.told(kind)


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


@pytest.mark.parametrize("endpoints", [2, 4])
async def test_f15_an_outage_is_met_with_a_tenth_more(stage: Stage, endpoints: int) -> None:
    """One after the other, and nobody leaves the endpoints alone: the budget alone must hold."""
    urls = [await stage.upstream(BUSY) for _ in range(endpoints)]
    await stage.start(document(*urls))
    for _ in range(100):
        assert (await stage.ask(body=BODY)).status == 503
    assert 100 + 9 <= len(stage.received) <= 100 + 3 + 9 + 1


async def test_what_was_left_alone_is_tried_out_by_whoever_is_told_to(stage: Stage) -> None:
    sick, good = await stage.upstream(WHOLE), await stage.upstream(BUSY)
    await stage.start(document(sick, good, retry=False))
    stage.places.inform(EndpointStates({"up": (sick,)}, {"up": (sick,)}), 0.0)
    stage.supervisor.trials = 1
    assert (await stage.ask(body=BODY)).status == 200
    assert (await stage.ask(body=BODY)).status == 503, "no trial was left: to the other one"
    asked = [(trial.backend, trial.endpoint) for trial in await told(stage, Trial)]
    assert asked == [("up", sick)] * 2
    seen = [(seen.endpoint, seen.ok, seen.trial, seen.asked) for seen in await told(stage, Observation)]
    assert seen == [(sick, True, True, True), (good, False, False, True)]


async def test_a_trial_that_fails_is_told_and_sent_on(stage: Stage) -> None:
    sick, good = await stage.upstream(BUSY), await stage.upstream(WHOLE)
    await stage.start(document(sick, good))
    assert [(await stage.ask(body=BODY)).status for _ in range(2)] == [200, 200]
    stage.supervisor.seen.clear()
    stage.places.inform(EndpointStates({"up": (sick,)}, {"up": (sick,)}), 0.0)
    stage.supervisor.trials = 1
    assert (await stage.ask(body=BODY)).status == 200
    (seen,) = await told(stage, Observation)
    assert (seen.endpoint, seen.ok, seen.blame, seen.trial) == (sick, False, "endpoint", True)


async def test_good_answers_are_told_with_the_next_failure(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(WHOLE, WHOLE, BUSY, WHOLE, BUSY)))
    for _ in range(5):
        await stage.ask(body=BODY)
    seen = [(seen.ok, seen.good) for seen in await told(stage, Observation)]
    assert seen == [(False, 2), (True, 0), (False, 1)]


async def test_where_nobody_is_left_the_wait_is_told(stage: Stage) -> None:
    url = await stage.upstream(WHOLE)
    await stage.start(document(url))
    stage.places.inform(EndpointStates({"up": (url,)}, {}, {"up": 2.5}), time.monotonic())
    answered = await stage.ask(body=BODY)
    assert (answered.number, answered.header("retry-after")) == (1706, "3")
    details = json.loads(answered.body)["error"]["details"]
    assert details == {"backend": "up", "endpoints": 1, "wait": 3}
    assert len(stage.received) == 0
    row = await stage.row()
    assert (row.outcome, row.units) == ("turned_away", 0)


async def test_the_same_session_goes_to_the_same_endpoint(stage: Stage) -> None:
    urls = [await stage.upstream(ok(b'{"id":"%d"}' % number)) for number in range(3)]
    await stage.start(document(*urls, balance={"hash": "session"}))
    for session in ("s1", "s2", "s3"):
        bodies = {(await stage.ask(body=BODY, x_session_id=session)).body for _ in range(4)}
        assert len(bodies) == 1, session
    assert len({(await stage.ask(body=BODY)).body for _ in range(3)}) == 3, "without a session they go round"


async def test_two_choices_leave_a_slow_endpoint_alone(stage: Stage) -> None:
    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_whole(reader)
            slow.append(1)
            await asyncio.sleep(0.1)
            writer.write(WHOLE)

    slow: list[int] = []
    urls = [f"http://127.0.0.1:{(await stage.site.upstream(dawdle)).port}", await stage.upstream(WHOLE)]
    await stage.start(document(*urls, balance="p2c"))
    random.seed(1)  # until both are known it is tossed for
    for _ in range(30):
        assert (await stage.ask(body=BODY)).status == 200
    assert len(slow) <= 5


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_f27_the_supervisor_hears_of_engines_that_go_on(stage: Stage, goes_on: bool, stream: bool) -> None:
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_whole(reader)
        asked.set()
        assert not await reader.read(), "the connection is closed at once"
        left.set()

    left = asyncio.Event()
    stage.supervisor.slot = Slot(f"http://127.0.0.1:{(await stage.site.upstream(hang)).port}", "run-1")
    await stage.start(
        "plugins: [key_auth]\nbackends: {e: {echo: {}}}\nmodels: {m: {backend: e}}\nroutes: [{path: /v1/x}]\n"
    )
    stage.assembly.directions.targets["e"].backend.generates_after_leave = goes_on
    client = await stage.send("POST", "/v1/x", json.dumps({"model": "m", "stream": stream}).encode())
    async with asyncio.timeout(5):
        await asked.wait()
        client.close()
        await left.wait()
    await eventually(lambda: stage.supervisor.told(Release))
    assert [release.lingers for release in stage.supervisor.told(Release)] == [goes_on and not stream]

"""SIGKILL to any process, under load: what is lost is what it held, and nothing survives that should not."""

import asyncio
import os
import random
import signal
import socket
import sqlite3
import time

from tests.harness import Gateway, config, eventually, is_alive, running_gateway
from tests.load import Client, Load, chat
from tests.process.test_exactness import check_books, mixed
from tests.streams import check_told, read_stream

LONG = chat(stream=True, chunks=400, chunk_delay=0.05)


async def test_requests_of_killed_workers_are_booked() -> None:
    with running_gateway(config(), workers=2) as gateway:
        await kill_workers(gateway, 3)


async def kill_workers(gateway: Gateway, kills: int) -> None:
    """Kill workers under load, one after another, each when there are two; then look at the books."""
    load = Load(gateway.address, gateway.key("monthly"), mixed, pause=0.002)
    load.start(8)
    streams = {f"stream-{n}": asyncio.create_task(read_stream(gateway, LONG, f"stream-{n}")) for n in range(4)}
    await asyncio.sleep(1.6)  # the long streams have written a progress record
    for _ in range(kills):
        workers = await asyncio.to_thread(eventually, lambda: both_serve(gateway), 10.0)
        before = load.asked
        os.kill(random.choice(workers), signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda before=before: load.asked > before + 40, 10.0)
    for pid in gateway.workers():
        os.kill(pid, signal.SIGKILL)  # whoever still holds one of the long streams
    cut = dict(zip(streams, await asyncio.gather(*streams.values()), strict=True))
    await asyncio.to_thread(eventually, lambda: both_serve(gateway), 10.0)
    await load.stop()
    load.cut |= dict.fromkeys(streams, "long")
    assert len(load.cut) > len(streams), "no request was hit"
    await check_books(gateway, load)
    rows = {row["request_id"]: row for row in gateway.rows()}
    for name in load.cut:
        if name in rows and name not in streams:
            assert rows[name]["outcome"] in ("worker_lost", "complete", "left"), dict(rows[name])
    for name, (received, is_cut) in cut.items():
        assert is_cut
        check_lost_stream(rows[name], received.count(b"data: "))


def both_serve(gateway: Gateway) -> list[int]:
    workers = gateway.workers()
    return workers if len(workers) == 2 else []


def check_lost_stream(row: sqlite3.Row, events: int) -> None:
    """Tokens are the prompt and what was delivered by the last progress record, at most about a second before."""
    assert (row["outcome"], row["error"], row["units"]) == ("worker_lost", 1903, 1000)
    assert row["tokens_source"] == "estimated" and row["tokens_in"] > 0
    assert events - 30 <= row["tokens_out"] <= events + 1, (dict(row), events)


async def test_f25_nothing_survives_the_supervisor() -> None:
    """Streams of its own engines break at once; those of servers elsewhere go on for 4 s and are told."""
    with running_gateway(config()) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.status()['engines']['echo']['port']}"
        backends = {"echo": {"echo": {}, "slots": 64}, "far": {"http": {"endpoints": [{"url": url}]}}}
        models = {"echo": {"backend": "echo"}, "far": {"backend": "far"}}
        with running_gateway(config(backends=backends, models=models), workers=2) as gateway:
            address = gateway.address
            near = [asyncio.create_task(read_stream(gateway, LONG)) for _ in range(8)]
            far = [asyncio.create_task(read_stream(gateway, {**LONG, "model": "far"})) for _ in range(8)]
            await asyncio.sleep(0.3)
            gateway.kill()
            killed = time.monotonic()
            await asyncio.to_thread(eventually, lambda: not listens(address[1]), 1.0)
            assert not listens(int(gateway.status_url.rpartition(":")[2]))
            await asyncio.to_thread(eventually, lambda: not gateway.survivors(), 6.0, "no survivors")
            assert time.monotonic() - killed < 6
            for received, is_cut in await asyncio.gather(*near):
                assert is_cut and b"[DONE]" not in received
            for received, is_cut in await asyncio.gather(*far):
                assert is_cut
                check_told(received)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_killed_worker_costs_what_it_held_and_is_replaced_within_a_second() -> None:
    with running_gateway(config(), workers=2) as gateway:
        load = Load(gateway.address, gateway.key("open"), lambda n: chat())
        load.start(8)
        await asyncio.sleep(0.5)
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        await asyncio.to_thread(eventually, lambda: len(set(gateway.workers()) - {victim}) == 2, 20.0)
        assert time.monotonic() - killed < 5, "a second on a quiet machine"
        await asyncio.sleep(0.5)
        await load.stop()
        assert len(load.cut) <= 8
        assert set(load.statuses) == {200}
        assert gateway.metrics()["tollkeeper_worker_restarts_total"] == 1


async def test_control_is_restarted_without_a_request_noticing() -> None:
    """Known keys need no control; a key that must be looked up meanwhile waits for its successor."""
    with running_gateway(config(), workers=2) as gateway:
        made = await asyncio.to_thread(gateway.command, "key.new", consumer="bob", tier="open")
        load = Load(gateway.address, gateway.key("open"), lambda n: chat())
        load.start(8)
        pid = gateway.control_pid()
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: not is_alive(pid))
        newcomer = Client(gateway.address, made["key"])
        answer = await newcomer.ask(chat())
        assert answer.status == 200
        stranger = Client(gateway.address, "tk_nobody_knows_this")
        assert (await stranger.ask(chat())).status == 401
        stranger.close()
        assert gateway.control_pid() != pid
        await load.stop()
        load.check_flawless()
        await asyncio.to_thread(eventually, lambda: len(gateway.rows()) >= load.asked + 2)
        newcomer.close()


async def test_f19_a_killed_engine_breaks_its_streams_and_comes_back() -> None:
    with running_gateway(config()) as gateway:
        stream = asyncio.create_task(read_stream(gateway, LONG, "struck"))
        await asyncio.sleep(0.5)
        os.kill(gateway.engine_pids()[0], signal.SIGKILL)
        killed = time.monotonic()
        received, is_cut = await stream
        assert time.monotonic() - killed < 5, "a second on a quiet machine"
        assert is_cut
        assert b"[DONE]" not in received
        assert b'"number":1711' in received
        client = Client(gateway.address, gateway.key("open"))
        assert (await client.ask(chat())).status == 200  # it waited for the engine
        client.close()
        await asyncio.to_thread(eventually, lambda: gateway.query("SELECT 1 FROM requests WHERE request_id = 'struck'"))
        (row,) = gateway.query("SELECT * FROM requests WHERE request_id = 'struck'")
        assert (row["outcome"], row["error"], row["tokens_source"]) == ("engine_died", 1711, "estimated")
        assert row["cancel"] == "signal 9", "F20: a lack of memory looks like this in the trace, and in the metric"
        restarts = 'tollkeeper_engine_restarts_total{backend="echo",reason="signal 9"}'
        assert gateway.metrics()[restarts] == 1


async def test_a_worker_is_replaced_while_its_predecessor_still_finishes_a_stream() -> None:
    """One that leaves (SIGTERM, even twice) does not count: when its successor dies there is another one."""
    with running_gateway(config(), workers=1) as gateway:
        stream = asyncio.create_task(read_stream(gateway, chat(stream=True, chunks=60, chunk_delay=0.05)))
        await asyncio.sleep(0.2)
        (old,) = gateway.workers()
        os.kill(old, signal.SIGTERM)
        os.kill(old, signal.SIGTERM)
        (new,) = await asyncio.to_thread(eventually, lambda: set(gateway.workers()) - {old})
        await asyncio.sleep(0.3)
        assert set(gateway.workers()) == {old, new}
        os.kill(new, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: set(gateway.workers()) - {old, new})
        client = Client(gateway.address, gateway.key("open"))
        assert (await client.ask(chat())).status == 200
        client.close()
        assert old in gateway.workers()
        received, is_cut = await stream
        assert not is_cut and received.endswith(b"data: [DONE]\n\n")

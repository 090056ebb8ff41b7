"""New configurations and new workers under load: nobody notices."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from tests.harness import Gateway, config, eventually, is_alive, running_gateway
from tests.load import Load, chat
from tests.streams import check_told, close_code, open_socket, read_stream

Disturbance = Callable[[Gateway], Awaitable[None]]


async def reload(gateway: Gateway) -> None:
    """Another configuration that serves the same."""
    number = gateway.status()["generations"][-1]["number"]
    await asyncio.to_thread(gateway.reload, config(workers=2, limits={"body": 1_000_000 + number}))


async def restart_workers(gateway: Gateway) -> None:
    """SIGTERM to each worker, one after another, as its successor serves."""
    for pid in gateway.workers():
        os.kill(pid, signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda pid=pid: not is_alive(pid), 10.0)
    assert len(gateway.workers()) == 2


async def disturb(gateway: Gateway, disturbance: Disturbance, times: int, requests: int = 0) -> Load:
    """Kept and fresh connections, through `times` disturbances and until `requests` were asked: none may fail."""
    load = Load(gateway.address, gateway.key("open"), lambda n: chat())
    load.start(8)
    load.start(8, fresh=True)
    await asyncio.sleep(0.3)
    for number in range(times):
        await disturbance(gateway)
        enough = max(load.asked + 300, requests * (number + 1) // times)
        while load.asked < enough:
            await asyncio.sleep(0.05)
    await load.stop()
    load.check_flawless()
    return load


async def test_no_request_fails_while_the_configuration_changes() -> None:
    with running_gateway(config(), workers=2) as gateway:
        load = await disturb(gateway, reload, 3)
        await asyncio.to_thread(eventually, lambda: len(gateway.rows()) >= load.asked)
        check_generations(gateway, load, 4)


def check_generations(gateway: Gateway, load: Load, newest: int) -> None:
    """Each request saw exactly one configuration: its row names it."""
    generations = {row["request_id"]: row["generation"] for row in gateway.rows()}
    assert generations.keys() == load.whole.keys()
    assert set(generations.values()) == set(range(1, newest + 1))


async def test_no_request_fails_while_workers_are_restarted() -> None:
    with running_gateway(config(), workers=2) as gateway:
        await disturb(gateway, restart_workers, 1)


async def outlive(gateway: Gateway, disturbances: int, seconds: float) -> None:
    """A stream of so many seconds and a WebSocket, both older than every disturbance, are not touched."""
    socket = await open_socket(gateway)
    events = round(seconds / 0.05)
    stream = asyncio.create_task(read_stream(gateway, chat(stream=True, chunks=events, chunk_delay=0.05)))
    await asyncio.sleep(0.1)
    started = asyncio.get_running_loop().time()
    for number in range(disturbances):
        await reload(gateway)
        await asyncio.to_thread(eventually, lambda: len(gateway.status()["generations"]) == 2)
        await socket.send(f"still there {number}")
        assert await socket.recv() == f"still there {number}"
        await asyncio.sleep(started + (number + 1) * (seconds - 2) / disturbances - asyncio.get_running_loop().time())
    assert not stream.done()
    received, is_cut = await stream
    assert not is_cut
    assert received.count(b"data: ") >= events
    assert received.endswith(b"data: [DONE]\n\n")
    await socket.send("and now")
    assert await socket.recv() == "and now"
    await socket.close()


async def test_streams_and_sockets_outlive_their_configuration() -> None:
    with running_gateway(config(), workers=2) as gateway:
        await outlive(gateway, 2, 4.0)


async def test_the_oldest_of_more_than_four_generations_is_broken_off() -> None:
    with running_gateway(config(), workers=2) as gateway:
        streams, sockets = [], []
        for _ in range(4):
            streams.append(asyncio.create_task(read_stream(gateway, chat(stream=True, chunks=600, chunk_delay=0.05))))
            sockets.append(await open_socket(gateway))
            await asyncio.sleep(0.1)
            assert not streams[0].done()
            await reload(gateway)
        received, is_cut = await asyncio.wait_for(streams[0], 3)
        assert is_cut
        check_told(received)
        assert await close_code(sockets[0], 3) == 1012
        await asyncio.to_thread(eventually, lambda: len(gateway.status()["generations"]) == 4)
        for stream, socket in zip(streams[1:], sockets[1:], strict=True):
            assert not stream.done()
            await socket.send("x")
            assert await socket.recv() == "x"
            await socket.close()
            stream.cancel()
        await asyncio.gather(*streams[1:], return_exceptions=True)

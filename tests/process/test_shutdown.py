"""The end of a gateway that is told to end: what is short completes, what is long is told so and broken off."""

import asyncio
import signal
import time

from tests.harness import Document, config, running_gateway
from tests.load import Client, chat
from tests.streams import check_told, close_code, open_socket, read_stream

SHORT = chat(stream=True, chunks=10, chunk_delay=0.05)  # half a second
STREAMS = 50  # of each kind
LONG = chat(stream=True, chunks=2000, chunk_delay=0.05)


def draining(seconds: float, **changes: object) -> Document:
    return config(timeouts={"shutdown_drain": seconds}, **changes)


async def test_a_drain_completes_short_streams_and_breaks_long_ones_off() -> None:
    with running_gateway(draining(1.5), workers=2) as gateway:
        streams = [asyncio.create_task(read_stream(gateway, SHORT)) for _ in range(STREAMS)]
        late = [asyncio.create_task(read_stream(gateway, LONG, f"long-{n}")) for n in range(STREAMS)]
        client = Client(gateway.address, gateway.key("monthly"))
        waiting = asyncio.create_task(client.ask(chat(delay=30), request_id="waits"))
        socket = await open_socket(gateway)
        await asyncio.sleep(0.2)
        gateway.note_processes()
        gateway.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        for received, is_cut in await asyncio.gather(*streams):
            assert not is_cut
            assert received.endswith(b"data: [DONE]\n\n")
        for received, is_cut in await asyncio.gather(*late):
            assert is_cut
            check_told(received)
        assert 1.4 < time.monotonic() - started < 8
        refused = await waiting
        assert (refused.status, refused.json["error"]["number"]) == (503, 1901)
        assert await close_code(socket) == 1012
        assert await asyncio.to_thread(gateway.process.wait, 5) == 0
        rows = {row["request_id"]: row for row in gateway.rows()}
        for name in ("waits", *(f"long-{n}" for n in range(STREAMS))):
            row = rows[name]
            assert (row["outcome"], row["error"], row["units"]) == ("worker_lost", 1901, 1000)
        assert all(rows[f"long-{n}"]["tokens_out"] >= 20 for n in range(STREAMS))
        assert "complete" in {row["outcome"] for row in rows.values() if row["path"] == "/v1/echo/ws"}


async def test_a_second_signal_means_now() -> None:
    """Who waits for a slot is told too, and pays nothing."""
    with running_gateway(draining(30, backends={"echo": {"echo": {}, "slots": 1}})) as gateway:
        stream = asyncio.create_task(read_stream(gateway, LONG))
        await asyncio.sleep(0.2)
        client = Client(gateway.address, gateway.key("monthly"))
        queued = asyncio.create_task(client.ask(chat(), request_id="queued"))
        await asyncio.sleep(0.2)
        gateway.note_processes()
        gateway.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert not stream.done() and not queued.done()
        started = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        received, is_cut = await stream
        assert is_cut
        check_told(received)
        refused = await queued
        assert (refused.status, refused.json["error"]["number"], refused.headers["retry-after"]) == (503, 1901, "1")
        assert await asyncio.to_thread(gateway.process.wait, 10) == 0
        assert time.monotonic() - started < 4
        (row,) = gateway.query("SELECT * FROM requests WHERE request_id = 'queued'")
        assert (row["outcome"], row["error"], row["units"]) == ("turned_away", 1901, 0)

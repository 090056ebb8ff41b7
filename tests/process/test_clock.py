"""The wall clock jumps by an hour, forth and back: nothing that is timed notices."""

import asyncio
from pathlib import Path

import pytest

from tests.harness import config, running_gateway
from tests.load import Client, Load, chat
from tests.streams import open_socket, read_stream

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libfaketime: apt-get install faketime")


async def test_a_jump_of_the_wall_clock_times_nothing_out(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    tiers = {"slow": {"rate": "1/hour", "burst": 1}, "open": {"rate": "unlimited"}, "monthly": {"monthly": 10_000}}
    with running_gateway(config(tiers=tiers), workers=2, folder=tmp_path, environment=environment) as gateway:
        slow = Client(gateway.address, gateway.key("slow"))
        load = Load(gateway.address, gateway.key("open"), lambda n: chat(), pause=0.01)
        load.start(4)
        stream = asyncio.create_task(read_stream(gateway, chat(stream=True, chunks=60, chunk_delay=0.05)))
        socket = await open_socket(gateway)
        assert (await slow.ask(chat())).status == 200
        dates = set()
        for offset in ("+1h", "-1h"):
            clock.write_text(offset)
            await asyncio.sleep(1.2)  # the Date field is made once a second
            await socket.send("hello")
            assert await socket.recv() == "hello"
            answer = await slow.ask(chat())
            assert answer.status == 429
            assert 3590 <= int(answer.headers["retry-after"]) <= 3600
            dates.add(answer.headers["date"][17:19])
        assert len(dates) == 2, "the clock did not jump"
        received, is_cut = await stream
        assert not is_cut and received.endswith(b"data: [DONE]\n\n")
        await load.stop()
        load.check_flawless()
        await socket.close()
        slow.close()
    durations = [row["total_us"] for row in gateway.query("SELECT total_us FROM requests")]
    assert durations and 0 <= min(durations) <= max(durations) < 10_000_000

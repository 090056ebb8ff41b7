"""Whatever is killed under load: the month's count is what the store says was kept, and no request is counted twice."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.exchange import Outcome
from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Client, Load, chat

MONTH = 10_000_000
VICTIMS: dict[str, Callable[[Gateway], int]] = {
    "worker": lambda gateway: gateway.workers()[0],
    "control": Gateway.control_pid,
    "engine": lambda gateway: gateway.engine_pids()[0],
    "supervisor": lambda gateway: gateway.pid,
}


@pytest.mark.parametrize("victims", [("worker", "control", "engine"), ("supervisor",)])
async def test_the_month_is_exact_after_kills(victims: tuple[str, ...], tmp_path: Path) -> None:
    await kill_and_count(victims, tmp_path)


async def kill_and_count(victims: tuple[str, ...], tmp_path: Path) -> None:
    """Kill in the middle of a load, let the gateway mend itself (a dead one is started again), and count."""
    with ExitStack() as stack:
        gateway = stack.enter_context(running_gateway(config(), workers=2, folder=tmp_path))
        load = Load(gateway.address, gateway.key("monthly"), mixed, pause=0.005)
        load.start(8)
        for victim in victims:
            await asyncio.sleep(0.7)
            gateway.note_processes()
            os.kill(VICTIMS[victim](gateway), signal.SIGKILL)
        await asyncio.sleep(0.7)
        await load.stop()
        if "supervisor" in victims:
            gateway.process.wait()
            await asyncio.to_thread(eventually, lambda: not gateway.survivors(), 8.0)
            gateway = stack.enter_context(running_gateway(config(), workers=2, folder=tmp_path))
        await check_books(gateway, load)


def mixed(number: int) -> dict[str, object]:
    """Every fourth is a stream of 0.2 s, the others are short."""
    return chat(stream=True, chunks=20, chunk_delay=0.01) if number % 4 == 0 else chat()


async def check_books(gateway: Gateway, load: Load) -> None:
    """Rows against what the clients saw, and the month against the rows."""
    await asyncio.to_thread(eventually, lambda: is_settled(gateway), 10.0, "all journals are settled")
    remaining = await read_remaining(gateway)
    await asyncio.to_thread(eventually, lambda: gateway.query("SELECT 1 FROM requests WHERE request_id = 'the-last'"))
    rows = gateway.rows()
    assert MONTH - remaining == sum(row["units"] for row in rows) // 1000
    by_name = Counter(row["request_id"] for row in rows)
    assert max(by_name.values()) == 1
    assert load.whole.keys() <= by_name.keys()
    assert by_name.keys() - {"the-last"} <= load.whole.keys() | load.cut.keys()
    outcomes = {row["request_id"]: Outcome(row["outcome"]) for row in rows}
    for name, answer in load.whole.items():
        assert (outcomes[name] is Outcome.COMPLETE) == (answer.status == 200), (answer, outcomes[name])
    for row in rows:
        assert row["units"] == (1000 if Outcome(row["outcome"]).keeps_units else 0), dict(row)


async def read_remaining(gateway: Gateway) -> int:
    """What the month has left after one request more."""
    await asyncio.sleep(0.5)  # leases that lie idle go back
    client = Client(gateway.address, gateway.key("monthly"))
    answer = await client.ask(chat(), request_id="the-last")
    client.close()
    return int(answer.headers["x-quota-monthly-remaining"])


async def test_a_request_id_is_no_discount() -> None:
    """A hundred requests at once that call themselves the same are a hundred requests."""
    with running_gateway(config(), workers=2) as gateway:
        clients = [Client(gateway.address, gateway.key("monthly")) for _ in range(100)]
        answers = await asyncio.gather(*[client.ask(chat(), request_id="same") for client in clients])
        assert {(answer.status, answer.headers["x-request-id"]) for answer in answers} == {(200, "same")}
        for client in clients:
            client.close()
        await asyncio.to_thread(eventually, lambda: len(gateway.rows()) == 100)
        assert {row["request_id"] for row in gateway.rows()} == {"same"}
        assert await read_remaining(gateway) == MONTH - 101


def is_settled(gateway: Gateway) -> bool:
    status = gateway.status()
    return not status["unsettled"] and not gateway.query("SELECT 1 FROM open_requests")

"""A burst on a free key: exactly what the tier allows gets through, whatever the number of workers."""

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.harness import config, running_gateway
from tests.load import Answer, Client, chat

CONNECTIONS = 32
PER_UNIT = 0.6  # seconds until a unit flows back: 100 a minute
BURST = 150
LAST_WAVE = 1.5  # seconds after the first: between two units, so that a millisecond cannot matter


async def burst(clients: Iterable[Client], requests: int, at: float) -> list[Answer]:
    """So many requests, spread over all clients, of which each one's last is sent at `at` (loop time)."""
    clients = list(clients)

    async def ask(client: Client, count: int) -> list[Answer]:
        answers = [await client.ask(chat()) for _ in range(count - 1)]
        await asyncio.sleep(at - asyncio.get_running_loop().time())
        return [*answers, await client.ask(chat())]

    each, extra = divmod(requests, len(clients))
    parts = await asyncio.gather(*[ask(client, each + (n < extra)) for n, client in enumerate(clients)])
    return [answer for part in parts for answer in part]


def admitted_bounds(answers: list[Answer]) -> tuple[int, int]:
    """What may have been admitted, to the request.

    Time counts from the first decision to the last. A decision lies between its request's sending and its answer, so
    the first one lies between the first sending and the first answer, and the last between the last sending and the
    last answer. Units that flowed back before the last decision were all taken, as there were requests to take them.
    """
    first_sent, first_answered = min(a.sent for a in answers), min(a.received for a in answers)
    last_sent, last_answered = max(a.sent for a in answers), max(a.received for a in answers)
    return (
        BURST + math.floor((last_sent - first_answered) / PER_UNIT),
        BURST + math.floor((last_answered - first_sent) / PER_UNIT),
    )


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_burst_gets_what_the_tier_allows_and_no_more(workers: int) -> None:
    with running_gateway(config(), workers=workers) as gateway:
        clients = [Client(gateway.address, gateway.key("free")) for _ in range(CONNECTIONS)]
        answers = await burst(clients, 1000, asyncio.get_running_loop().time() + LAST_WAVE)
        least, most = admitted_bounds(answers)
        assert BURST + 2 <= least <= most <= least + 1
        admitted = [a for a in answers if a.status == 200]
        refused = [a for a in answers if a.status == 429]
        assert len(admitted) + len(refused) == 1000
        assert least <= len(admitted) <= most
        assert {a.headers["retry-after"] for a in refused} == {"1"}  # the next unit comes in 0.6 s
        assert {a.json["error"]["number"] for a in refused} == {1501}
        for client in clients:
            client.close()


async def test_retry_after_is_true() -> None:
    tiers = {"slow": {"rate": "40/min", "burst": 1}}  # a unit in 1.5 s
    with running_gateway(config(tiers=tiers)) as gateway:
        client = Client(gateway.address, gateway.key("slow"))
        assert (await client.ask(chat())).status == 200
        refused = await client.ask(chat())
        assert (refused.status, refused.headers["retry-after"]) == (429, "2")
        await asyncio.sleep(1.0)
        refused = await client.ask(chat())
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        await asyncio.sleep(1.0)
        assert (await client.ask(chat())).status == 200
        client.close()


async def test_a_burst_is_not_forgotten_by_a_kill(tmp_path: Path) -> None:
    """The supervisor dies between two halves of a burst: together they get what one burst gets."""
    answers: list[Answer] = []
    for kills in (True, False):
        with running_gateway(config(), workers=2, folder=tmp_path) as gateway:
            clients = [Client(gateway.address, gateway.key("free")) for _ in range(CONNECTIONS)]
            answers += await burst(clients, 120, asyncio.get_running_loop().time())
            if kills:
                assert {answer.status for answer in answers} == {200}
                gateway.kill()
            for client in clients:
                client.close()
    least, most = admitted_bounds(answers)
    assert least <= sum(answer.status == 200 for answer in answers) <= most <= least + 1

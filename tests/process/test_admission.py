"""The queue for slots as clients meet it: classes, fairness by tokens, honest refusals; one worker and several."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.priority import PRIORITIES
from gateway.settings.key import digest
from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.load import Answer, Client, chat

SERVICE = 0.1  # seconds that the engine takes for a request
SLACK = 0.05  # seconds that a busy machine may take to pass a slot on
SLOTS = 2


def tiers(queue: int = 100, wait: str = "30s") -> Document:
    return config(
        tiers={"bulk": {"priority": "low"}, "vip": {"priority": "high"}, "plain": {}},
        consumers={name: {"tier": "plain", "keys": [{"sha256": digest(key(name)).hex()}]} for name in ("many", "few")},
        backends={"echo": {"echo": {}, "slots": SLOTS, "queue": queue}},
        timeouts={"queue": wait},
    )


def key(name: str) -> str:
    return f"tk_{name}_0123456789abcdef0123456789abcdef"


async def ask_on(
    gateway: Gateway, secret: str, document: dict[str, Any], until: float, pause: float = 0
) -> list[Answer]:
    """One request after the other."""
    client, answers = Client(gateway.address, secret), []
    while time.monotonic() < until:
        answers.append(await client.ask(document))
        await asyncio.sleep(pause)
    client.close()
    return answers


def waited(answer: Answer) -> float:
    """Seconds in the queue, as the gateway tells."""
    return float(answer.headers["x-tollkeeper-queue-ms"]) / 1e3


def summed(answers: Sequence[Answer]) -> int:
    return sum(answer.json["usage"]["total_tokens"] for answer in answers)


@pytest.mark.parametrize("workers", [1, 4])
async def test_high_waits_for_one_slot_beside_three_times_too_much_low(workers: int) -> None:
    """Low goes on in the gaps."""
    document = chat(delay=SERVICE)
    with running_gateway(tiers(), workers=workers) as gateway:
        until = time.monotonic() + 6
        bulk = [ask_on(gateway, gateway.key("bulk"), document, until) for _ in range(4 * SLOTS)]
        vip = ask_on(gateway, gateway.key("vip"), document, until, pause=0.05)
        high, *low = await asyncio.gather(vip, *bulk)
        waits = sorted(map(waited, high))
        done = [answer for answers in low for answer in answers]
        print(
            f"{workers} workers: {len(high)} high, p50 {waits[len(waits) // 2]:.3f} s, most {waits[-1]:.3f} s;"
            f" {len(done)} low, most {max(map(waited, done)):.3f} s"
        )
        assert {answer.status for answer in [*high, *done]} == {200}
        service = max(float(answer.headers["x-tollkeeper-upstream-ms"]) / 1e3 for answer in done)
        assert waits[int(len(waits) * 0.99)] <= service + SLACK
        assert len(done) >= 6 / SERVICE * SLOTS * 0.4
        series = gateway.metrics()
        assert series['tollkeeper_queue_seconds_count{backend="echo",class="high"}'] == len(high)
        assert series['tollkeeper_queue_seconds_count{backend="echo",class="low"}'] == len(done)


@pytest.mark.parametrize("workers", [1, 4])
async def test_two_consumers_get_equal_tokens(workers: int) -> None:
    """Whatever the number of their requests: one sends many small ones, the other few that are ten times as large."""
    small, large = chat(delay=0.02, chunks=9), chat(delay=0.02, chunks=99)
    with running_gateway(tiers(), workers=workers) as gateway:
        until = time.monotonic() + 6
        groups = [
            asyncio.gather(*(ask_on(gateway, key("many"), small, until) for _ in range(20))),
            asyncio.gather(*(ask_on(gateway, key("few"), large, until) for _ in range(6))),
        ]
        answers = [[a for one in group for a in one] for group in await asyncio.gather(*groups)]
        many, few = ([a for a in group if a.received <= until] for group in answers)
        print(f"{workers} workers: {len(many)} requests of {summed(many)} tokens, {len(few)} of {summed(few)}")
        assert {answer.status for answer in [*many, *few]} == {200}
        assert len(many) > 5 * len(few)
        assert summed(many) == pytest.approx(summed(few), rel=0.1)


async def test_whom_a_full_queue_refuses() -> None:
    """The last class first, with figures."""
    document = chat(delay=1.0)
    with running_gateway(tiers(queue=4), workers=2) as gateway:
        clients = [Client(gateway.address, gateway.key("bulk"), fresh=True) for _ in range(SLOTS + 4)]
        asked = []
        for count, client in enumerate(clients):
            asked.append(asyncio.create_task(client.ask(document)))
            await asyncio.to_thread(eventually, lambda count=count: _crowd(gateway) == count + 1)
        refused = await Client(gateway.address, gateway.key("bulk"), fresh=True).ask(document)
        error = refused.json["error"]
        assert (refused.status, error["number"]) == (503, 1709)
        assert error["details"] == {
            "backend": "echo", "class": "low", "position": 5, "ahead": 4, "waited": 0.0,
            "expected_wait": error["details"]["expected_wait"],
        }  # fmt: skip
        assert 1 <= int(refused.headers["retry-after"]) == -(-error["details"]["expected_wait"] // 1)
        status = gateway.status()["engines"]["echo"]
        assert status["queues"] == {"critical": 0, "high": 0, "normal": 0, "low": 4}
        favoured = await Client(gateway.address, gateway.key("vip"), fresh=True).ask(document)
        assert favoured.status == 200 and waited(favoured) <= 1.1
        answers = await asyncio.gather(*asked)
        assert [answer.status for answer in answers] == [200] * (SLOTS + 3) + [503]
        assert "more right" in answers[-1].json["error"]["message"] and waited(answers[-1]) > 0


async def test_a_wait_in_vain_is_honest() -> None:
    with running_gateway(tiers(wait="200ms"), workers=1) as gateway:
        clients = [Client(gateway.address, gateway.key("plain"), fresh=True) for _ in range(SLOTS + 2)]
        answers = await asyncio.gather(*(client.ask(chat(delay=1.0)) for client in clients))
        assert sorted(answer.status for answer in answers) == [200, 200, 503, 503]
        late = [answer for answer in answers if answer.status == 503]
        for answer in late:
            error = answer.json["error"]
            assert error["number"] == 1802 and error["details"]["waited"] == pytest.approx(0.2, abs=0.1)
            assert waited(answer) == pytest.approx(0.2, abs=0.1)
        assert {answer.json["error"]["details"]["ahead"] for answer in late} <= {0, 1}


async def test_a_request_may_lower_its_class() -> None:
    """And not raise it: the metrics say in which class each one waited."""
    with running_gateway(tiers(), workers=1) as gateway:
        for tier, header in (("vip", "low"), ("bulk", "critical"), ("plain", "nonsense")):
            line = f"X-Tollkeeper-Priority: {header}\r\n"
            await Client(gateway.address, gateway.key(tier), fresh=True, lines=line).ask(chat())
        name, series = 'tollkeeper_queue_seconds_count{backend="echo",class="%s"}', gateway.metrics()
        assert [series.get(name % priority) for priority in PRIORITIES] == [None, None, 1, 2]


def _crowd(gateway: Gateway) -> int:
    engine = gateway.status()["engines"]["echo"]
    return int(engine["in_use"] + engine["waiting"])
